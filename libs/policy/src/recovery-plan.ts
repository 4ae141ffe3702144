import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import {
  chainOf,
  historiesOf,
  knownTimelines,
  restorePointsOnPath,
  segmentEnd,
  segmentStart,
  type RecoveryChains,
  type RestorePoint,
  type StoredBase,
} from './recovery-chains.ts';
import { formatRecoveryTime, type TimeUs } from './recovery-time.ts';
import { recoveryWindows, usableParts, type RecoveryWindow, type UsablePart } from './recovery-window.ts';

/**
 * Decides what a recovery to a target takes: which base backup with which it builds on, which WAL, and where the server is to stop. It
 * is the latest base that ends before the target, so that the least WAL is replayed.
 */
export type RecoveryTarget = (
  | { readonly kind: 'time'; readonly timeUs: TimeUs }
  | { readonly kind: 'lsn'; readonly lsn: bigint }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'latest' }
) & {
  /** With what was committed, or begins in WAL, just at the target; default true. Not for `name` and `latest`. */
  readonly inclusive?: boolean;
  /** Default: the newest that is known. */
  readonly timeline?: number;
};

export interface RecoveryPlan {
  readonly timeline: number;
  /** The full backup first; the last is the one that replay begins with. */
  readonly backups: readonly StoredBase[];
  /** Whole segments, in the order of WAL. Where two timelines share a segment, both may be here, and the server reads the newer. */
  readonly wal: readonly { readonly timeline: number; readonly fromLsn: bigint; readonly toLsn: bigint }[];
  /** Timelines whose history files have to be there. */
  readonly histories: readonly number[];
  readonly stop: RecoveryStop;
}

/**
 * What the server is told. `end_of_wal` is no recovery target at all: it replays what it is given, and only that much may be given. It
 * stands for `latest`, and for a place behind which nothing is kept, where a server would say that the target was not reached.
 */
export type RecoveryStop =
  | { readonly kind: 'time'; readonly timeUs: TimeUs; readonly inclusive: boolean }
  | { readonly kind: 'lsn'; readonly lsn: bigint; readonly inclusive: boolean }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'end_of_wal'; readonly lsn: bigint };

/** A server stops at the first record that begins at an LSN or behind it, and such a record may be long; most have less than a page. */
const recordMarginBytes = 64n * 1024n * 1024n;
/** At the end of a segment there may be none until the next but one. */
const recordMarginSegmentCount = 2n;

/** More are in the context, and by recoveryWindows; a message has to be read. */
const maxWindowsNamed = 3;

/** Codes: postgresql_target_uncovered, with the windows named; the same windows are in the context. */
export function planRecovery(chains: RecoveryChains, target: RecoveryTarget): RecoveryPlan {
  const timeline = target.timeline ?? knownTimelines(chains).at(-1) ?? 1;
  const parts = usableParts(chains, timeline).toReversed();
  const choice = choose(chains, timeline, parts, target);
  if (choice === null) throw uncovered(chains, timeline, target);
  const { base, part, stop, endLsn } = choice;
  const backups = chainOf(chains, base);
  if (backups === null) throw uncovered(chains, timeline, target);
  return { timeline, backups, wal: wholeSegments(chains, part, base.startLsn, endLsn), histories: historiesOf(chains, timeline), stop };
}

interface Choice {
  readonly base: StoredBase;
  readonly part: UsablePart;
  readonly stop: RecoveryStop;
  /** WAL is needed up to here. */
  readonly endLsn: bigint;
}

/** `parts`: the newest first. */
function choose(chains: RecoveryChains, timeline: number, parts: readonly UsablePart[], target: RecoveryTarget): Choice | null {
  const inclusive = target.inclusive ?? true;
  for (const part of parts) {
    const choice =
      target.kind === 'time'
        ? chooseByTime(part, target.timeUs, inclusive)
        : target.kind === 'lsn'
          ? chooseByLsn(part, target.lsn, inclusive, chains.segmentSizeBytes)
          : target.kind === 'name'
            ? chooseByName(part, target.name, restorePointsOnPath(chains, timeline), chains.segmentSizeBytes)
            : endOf(part, part.bases.at(-1));
    if (choice !== null) return choice;
  }
  return null;
}

function chooseByTime(part: UsablePart, timeUs: TimeUs, inclusive: boolean): Choice | null {
  if (timeUs > part.toUs) return null;
  const base = part.bases.findLast((each) => each.endTimeUs <= timeUs);
  if (base === undefined) return null;
  // A server stops at the first commit behind the time; inclusive, one of that very time still counts.
  const isBehind = (commitUs: TimeUs | null): boolean => commitUs !== null && (inclusive ? commitUs > timeUs : commitUs >= timeUs);
  const replayed = part.pieces.filter((piece) => piece.toLsn > base.startLsn);
  const last = replayed.find((piece) => isBehind(piece.lastCommitUs));
  if (last === undefined) {
    if (!replayed.some((piece) => isBehind(piece.lastCommitAtMostUs))) return endOf(part, base);
    // Perhaps there is such a commit before the place where a timeline was left. A server that finds none says so; replaying all of it
    // might bring back more than was asked for, and nobody would be told.
    return { base, part, stop: { kind: 'time', timeUs, inclusive }, endLsn: part.toLsn };
  }
  return { base, part, stop: { kind: 'time', timeUs, inclusive }, endLsn: last.toLsn < base.endLsn ? base.endLsn : last.toLsn };
}

function chooseByLsn(part: UsablePart, lsn: bigint, inclusive: boolean, segmentSizeBytes: number): Choice | null {
  if (lsn < part.fromLsn || lsn > part.toLsn) return null;
  const base = part.bases.findLast((each) => each.endLsn <= lsn);
  if (base === undefined) return null;
  if (lsn === part.toLsn) return endOf(part, base);
  return { base, part, stop: { kind: 'lsn', lsn, inclusive }, endLsn: withMargin(lsn, part, segmentSizeBytes) };
}

function chooseByName(part: UsablePart, name: string, points: readonly RestorePoint[], segmentSizeBytes: number): Choice | null {
  const named = points.filter((point) => point.name === name && point.lsn >= part.fromLsn && point.lsn <= part.toLsn);
  const point = named.at(-1);
  const base = part.bases.findLast((each) => point !== undefined && each.endLsn <= point.lsn);
  if (point === undefined || base === undefined) return null;
  if (named.some((other) => other !== point && other.lsn > base.startLsn)) {
    throw new HoldfastError('postgresql_target_uncovered', `there are several restore points ${JSON.stringify(name)}`, {
      hint: 'a server would stop at the first of them: give the LSN of the one that is meant',
      context: { lsns: named.map(({ lsn }) => formatLsn(lsn)) },
    });
  }
  return { base, part, stop: { kind: 'name', name }, endLsn: withMargin(point.lsn, part, segmentSizeBytes) };
}

function endOf(part: UsablePart, base: StoredBase | undefined): Choice | null {
  return base === undefined ? null : { base, part, stop: { kind: 'end_of_wal', lsn: part.toLsn }, endLsn: part.toLsn };
}

function withMargin(lsn: bigint, part: UsablePart, segmentSizeBytes: number): bigint {
  const segmentsBytes = recordMarginSegmentCount * BigInt(segmentSizeBytes);
  const endLsn = lsn + (segmentsBytes > recordMarginBytes ? segmentsBytes : recordMarginBytes);
  return endLsn < part.toLsn ? endLsn : part.toLsn;
}

function wholeSegments(
  { segmentSizeBytes }: RecoveryChains,
  { pieces }: UsablePart,
  startLsn: bigint,
  endLsn: bigint,
): RecoveryPlan['wal'] {
  return pieces
    .filter((piece) => piece.toLsn > startLsn && piece.fromLsn < endLsn)
    .map((piece) => ({
      timeline: piece.timeline,
      fromLsn: segmentStart(piece.fromLsn > startLsn ? piece.fromLsn : startLsn, segmentSizeBytes),
      toLsn: segmentEnd(piece.toLsn < endLsn ? piece.toLsn : endLsn, segmentSizeBytes),
    }));
}

function uncovered(chains: RecoveryChains, timeline: number, target: RecoveryTarget): HoldfastError {
  const windows = recoveryWindows(chains);
  const named = windows.toReversed().slice(0, maxWindowsNamed).map(nameWindow);
  const covered = named.length === 0 ? 'there is no base backup with all of its WAL' : `covered are: ${named.join('; ')}`;
  return new HoldfastError('postgresql_target_uncovered', `${nameTarget(target)} on timeline ${timeline} cannot be recovered; ${covered}`, {
    context: { timeline, windows: windows.map(nameWindow) },
    ...(windows.length === 0 ? { hint: 'take a base backup, and archive WAL from it on' } : {}),
  });
}

function nameTarget(target: RecoveryTarget): string {
  if (target.kind === 'time') return `the time ${formatRecoveryTime(target.timeUs)}`;
  if (target.kind === 'lsn') return `the LSN ${formatLsn(target.lsn)}`;
  return target.kind === 'name' ? `the restore point ${JSON.stringify(target.name)}` : 'the latest state';
}

function nameWindow({ timeline, parts }: RecoveryWindow): string {
  const spans = parts.map(
    (part) =>
      `${formatRecoveryTime(part.fromUs)} to ${formatRecoveryTime(part.toUs)} (${formatLsn(part.fromLsn)} to ${formatLsn(part.toLsn)})`,
  );
  return `timeline ${timeline} from ${spans.join(' and from ')}`;
}
