import type { TimeUs } from './recovery-time.ts';

/**
 * What of a PostgreSQL cluster is kept, and how it hangs together. Places in WAL are LSNs; a timeline is a branch of WAL that a
 * promotion began. To recover along a timeline is to read its ancestors' WAL up to where each was left, then its own:
 *
 *     timeline 1   |----base----------|-------        the rest of 1 is not on the path of 2
 *     timeline 2                      |-----------→
 *
 * The segment in which a timeline begins holds a copy of its parent's part of it, so WAL of the child counts from that segment's start.
 */
export interface StoredBase {
  readonly id: string;
  readonly timeline: number;
  /** Replay begins here; what recovers from the backup needs all WAL from here. */
  readonly startLsn: bigint;
  /** Consistent from here on: no recovery can stop earlier. */
  readonly endLsn: bigint;
  /** By the server's clock. */
  readonly endTimeUs: TimeUs;
  /** The backup that an incremental one builds on; null for a full one. */
  readonly parentId: string | null;
}

export interface ArchivedWal {
  readonly timeline: number;
  readonly fromLsn: bigint;
  /** The first byte that is not kept. As fromLsn when the server had nothing new. */
  readonly toLsn: bigint;
  /** The greatest time of a commit or abort in it; null when there is none, or nobody looked. */
  readonly lastCommitUs: TimeUs | null;
  /** The server's clock when it had written no WAL beyond toLsn; null when that was never so. */
  readonly completeUs: TimeUs | null;
}

/** A line of a timeline's history file: this ancestor's WAL counts up to switchLsn. */
export interface TimelineParent {
  readonly timeline: number;
  readonly switchLsn: bigint;
}

export interface RestorePoint {
  readonly name: string;
  readonly timeline: number;
  /** What pg_create_restore_point gave: the end of its record. */
  readonly lsn: bigint;
}

export interface RecoveryChains {
  readonly bases: readonly StoredBase[];
  readonly wal: readonly ArchivedWal[];
  /** By timeline, the oldest ancestor first. Timeline 1 has none, and one that is not here counts as having none. */
  readonly histories: ReadonlyMap<number, readonly TimelineParent[]>;
  readonly restorePoints: readonly RestorePoint[];
  readonly segmentSizeBytes: number;
}

/** A part of WAL that is kept and lies on the path to a timeline. */
export interface WalPiece {
  readonly timeline: number;
  readonly fromLsn: bigint;
  readonly toLsn: bigint;
  /** As of ArchivedWal; null also for one that the path leaves in the middle. */
  readonly lastCommitUs: TimeUs | null;
  /** Of one that the path leaves in the middle: its commits are no later. */
  readonly lastCommitAtMostUs: TimeUs | null;
  readonly completeUs: TimeUs | null;
}

interface Stretch {
  readonly timeline: number;
  readonly fromLsn: bigint;
  readonly toLsn: bigint;
}

const endOfLog = 1n << 64n;

/** All timelines that anything is kept of, ascending. */
export function knownTimelines({ bases, wal, histories }: RecoveryChains): number[] {
  const timelines = [...bases, ...wal].map(({ timeline }) => timeline);
  return [...new Set([...timelines, ...histories.keys()])].toSorted((a, b) => a - b);
}

/** The timelines whose history files a recovery along `timeline` reads. */
export function historiesOf({ histories }: RecoveryChains, timeline: number): number[] {
  return [...(histories.get(timeline) ?? []).map((parent) => parent.timeline), timeline].filter((each) => histories.has(each));
}

/** The backup with all that it builds on, the full one first; null when one is gone. */
export function chainOf({ bases }: RecoveryChains, base: StoredBase): StoredBase[] | null {
  const byId = new Map(bases.map((each) => [each.id, each]));
  const chain = [base];
  for (let oldest = base; oldest.parentId !== null;) {
    const parent = byId.get(oldest.parentId);
    if (parent === undefined || chain.includes(parent)) return null;
    chain.unshift(parent);
    oldest = parent;
  }
  return chain;
}

/** Bases that a recovery along `timeline` can begin with, as far as they themselves go, by where they end. */
export function basesOnPath(chains: RecoveryChains, timeline: number): StoredBase[] {
  const path = pathTo(chains, timeline);
  return chains.bases
    .filter((base) =>
      path.some((stretch) => stretch.timeline === base.timeline && base.startLsn >= stretch.fromLsn && base.endLsn <= stretch.toLsn),
    )
    .filter((base) => chainOf(chains, base) !== null)
    .toSorted((a, b) => compare(a.endLsn, b.endLsn));
}

/** Restore points that a recovery along `timeline` comes by, in the order of WAL. */
export function restorePointsOnPath(chains: RecoveryChains, timeline: number): RestorePoint[] {
  const path = pathTo(chains, timeline);
  const isOn = (point: RestorePoint): boolean =>
    path.some((stretch) => stretch.timeline === point.timeline && point.lsn > stretch.fromLsn && point.lsn <= stretch.toLsn);
  return chains.restorePoints.filter(isOn).toSorted((a, b) => compare(a.lsn, b.lsn));
}

/** Whole stretches of kept WAL on the path to `timeline`, each as pieces without a gap between them, in the order of WAL. */
export function coveredStretches(chains: RecoveryChains, timeline: number): WalPiece[][] {
  const stretches: WalPiece[][] = [];
  let reached = -1n;
  for (const piece of piecesOnPath(chains, timeline)) {
    if (piece.fromLsn > reached) stretches.push([]);
    const stretch = stretches.at(-1) ?? [];
    const last = stretch.at(-1);
    if (last !== undefined && piece.toLsn <= reached) {
      // It holds nothing more, and says of a later time that there was no more: of an idle server that is all that comes.
      stretch[stretch.length - 1] = { ...last, completeUs: later(last.completeUs, piece.completeUs) };
      continue;
    }
    stretch.push(piece);
    reached = piece.toLsn;
  }
  return stretches;
}

/** The place where the segment with `lsn` begins. */
export function segmentStart(lsn: bigint, segmentSizeBytes: number): bigint {
  return lsn - (lsn % BigInt(segmentSizeBytes));
}

/** Where the segment whose last byte is before `lsn` ends. */
export function segmentEnd(lsn: bigint, segmentSizeBytes: number): bigint {
  return segmentStart(lsn + BigInt(segmentSizeBytes) - 1n, segmentSizeBytes);
}

function piecesOnPath(chains: RecoveryChains, timeline: number): WalPiece[] {
  const pieces = pathTo(chains, timeline).flatMap((stretch) => {
    const beginLsn = segmentStart(stretch.fromLsn, chains.segmentSizeBytes);
    return chains.wal
      .filter((wal) => wal.timeline === stretch.timeline)
      .map((wal) => {
        // What was committed behind the place where the path leaves this timeline happened in another history.
        const isCut = wal.toLsn > stretch.toLsn;
        return {
          timeline: wal.timeline,
          fromLsn: wal.fromLsn < beginLsn ? beginLsn : wal.fromLsn,
          toLsn: isCut ? stretch.toLsn : wal.toLsn,
          lastCommitUs: isCut ? null : wal.lastCommitUs,
          lastCommitAtMostUs: isCut ? wal.lastCommitUs : null,
          // A server that has nothing more where the path leaves it may have been left already.
          completeUs: wal.toLsn >= stretch.toLsn ? null : wal.completeUs,
        };
      });
  });
  return pieces
    .filter((piece) => piece.fromLsn < piece.toLsn || (piece.fromLsn === piece.toLsn && piece.completeUs !== null))
    .toSorted((a, b) => compare(a.fromLsn, b.fromLsn) || compare(b.toLsn, a.toLsn) || b.timeline - a.timeline);
}

function pathTo({ histories }: RecoveryChains, timeline: number): Stretch[] {
  let fromLsn = 0n;
  const path: Stretch[] = [];
  for (const parent of histories.get(timeline) ?? []) {
    path.push({ timeline: parent.timeline, fromLsn, toLsn: parent.switchLsn });
    fromLsn = parent.switchLsn;
  }
  path.push({ timeline, fromLsn, toLsn: endOfLog });
  return path;
}

function later(a: TimeUs | null, b: TimeUs | null): TimeUs | null {
  return a === null || (b !== null && b > a) ? b : a;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
