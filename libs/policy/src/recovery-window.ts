import { basesOnPath, coveredStretches, knownTimelines, type RecoveryChains, type StoredBase, type WalPiece } from './recovery-chains.ts';
import type { TimeUs } from './recovery-time.ts';

/**
 * To when a cluster can be recovered with what is kept of it. A part begins where its first base backup is consistent and goes on as
 * long as WAL follows without a gap. A time in it counts as covered when a commit after it is kept, or the server had nothing more to
 * give by then.
 */
export interface RecoveryPart {
  readonly fromUs: TimeUs;
  readonly toUs: TimeUs;
  readonly fromLsn: bigint;
  readonly toLsn: bigint;
}

/** The whole of a timeline, ancestors included: from its first part to its last, and what is missing between. */
export interface RecoveryWindow extends RecoveryPart {
  readonly timeline: number;
  /** Ascending; at least one. */
  readonly parts: readonly RecoveryPart[];
  /** What lies between two parts: WAL was lost, and no base backup begins before it is whole again. */
  readonly gaps: readonly RecoveryPart[];
}

/** A part, with what a decision needs to know of it. */
export interface UsablePart extends RecoveryPart {
  /** Bases that it can begin with, by where they end. */
  readonly bases: readonly [StoredBase, ...StoredBase[]];
  /** From the first base's start on, each behind the other without a gap. */
  readonly pieces: readonly WalPiece[];
}

/** The windows of all timelines that can be recovered to, by timeline. Empty when there is no base backup with all its WAL. */
export function recoveryWindows(chains: RecoveryChains): RecoveryWindow[] {
  return knownTimelines(chains).flatMap((timeline) => {
    const parts = usableParts(chains, timeline).map(({ fromUs, toUs, fromLsn, toLsn }) => ({ fromUs, toUs, fromLsn, toLsn }));
    const [first] = parts;
    const last = parts.at(-1);
    if (first === undefined || last === undefined) return [];
    const gaps = parts.slice(1).map((part, index) => {
      const before = parts[index] ?? first;
      return { fromUs: before.toUs, toUs: part.fromUs, fromLsn: before.toLsn, toLsn: part.fromLsn };
    });
    return [{ timeline, fromUs: first.fromUs, toUs: last.toUs, fromLsn: first.fromLsn, toLsn: last.toLsn, parts, gaps }];
  });
}

/** The parts of one timeline, in the order of WAL. */
export function usableParts(chains: RecoveryChains, timeline: number): UsablePart[] {
  const onPath = basesOnPath(chains, timeline);
  return coveredStretches(chains, timeline).flatMap((pieces) => {
    const startLsn = pieces[0]?.fromLsn ?? 0n;
    const toLsn = pieces.at(-1)?.toLsn ?? 0n;
    const [first, ...others] = onPath.filter((base) => base.startLsn >= startLsn && base.endLsn <= toLsn);
    if (first === undefined) return [];
    const fromUs = [first, ...others].reduce((least, base) => (base.endTimeUs < least ? base.endTimeUs : least), first.endTimeUs);
    return [{ fromLsn: first.endLsn, toLsn, fromUs, toUs: lastCoveredTime(pieces, fromUs), bases: [first, ...others], pieces }];
  });
}

function lastCoveredTime(pieces: readonly WalPiece[], fromUs: TimeUs): TimeUs {
  // What was all at some time is all of that time also when more has come since.
  const times = pieces.flatMap((piece) => [piece.lastCommitUs, piece.completeUs]);
  return times.reduce<TimeUs>((greatest, timeUs) => (timeUs !== null && timeUs > greatest ? timeUs : greatest), fromUs);
}
