import { basesOnPath, chainOf, segmentEnd, type RecoveryChains, type StoredBase } from './recovery-chains.ts';
import { chainsOf, type BackupFacts, type WalFacts } from './recovery-facts.ts';
import { usableParts } from './recovery-window.ts';

/**
 * Retention of backups that are worth something only together: a rule by age chooses which stay, and here is added what those need.
 * Blocks need all backups that they build on. WAL needs a base backup from which all of it can be replayed, and the WAL between; where
 * there is none before it, the first one within it. So with WAL kept for 30 days every moment of the 30 days stays recoverable, however
 * short the base backups' own rule is.
 */

/** The ids that stay: `kept`, and what those need of `backups`, all of one chain, the oldest first. */
export function keptWithChain(backups: readonly BackupFacts[], kept: ReadonlySet<string>): Set<string> {
  const staying = new Set(kept);
  for (const ofCluster of Map.groupBy(backups, ({ facts }) => facts.systemIdentifier).values()) {
    const chains = chainsOf(ofCluster);
    if (chains === null) continue;
    const wal = ofCluster.flatMap(({ jobId, facts }) => (facts.kind === 'wal' ? [{ jobId, facts }] : []));
    for (const [nth, { jobId, facts }] of wal.entries()) {
      if (kept.has(jobId)) keepForWal(chains, wal.slice(0, nth + 1), facts, staying);
    }
    // Last, for bases that WAL needs are of blocks too.
    for (const base of chains.bases) if (staying.has(base.id)) keepParents(chains, base, staying);
  }
  return staying;
}

interface WalBackup {
  readonly jobId: string;
  readonly facts: WalFacts;
}

/** `wal`: up to the one with these pieces. */
function keepForWal(chains: RecoveryChains, wal: readonly WalBackup[], { pieces }: WalFacts, staying: Set<string>): void {
  for (const piece of pieces) {
    for (const part of usableParts(chains, piece.timeline)) {
      const reachesFrom = part.pieces[0]?.fromLsn ?? part.fromLsn;
      if (piece.fromLsn >= part.toLsn || piece.toLsn <= reachesFrom) continue;
      // A run begins with the segment in which the one before it ended.
      const beginLsn = segmentEnd(piece.fromLsn + 1n, chains.segmentSizeBytes);
      const latestLsn = beginLsn < piece.toLsn ? beginLsn : piece.toLsn;
      const base = part.bases.findLast(({ endLsn }) => endLsn <= latestLsn) ?? part.bases[0];
      if (base.endLsn > piece.toLsn) continue;
      staying.add(base.id);
      const timelines = new Set(part.pieces.map(({ timeline }) => timeline));
      for (const other of wal) {
        const isBetween = other.facts.pieces.some(
          ({ timeline, fromLsn, toLsn }) => timelines.has(timeline) && toLsn > base.startLsn && fromLsn < piece.toLsn,
        );
        if (isBetween) staying.add(other.jobId);
      }
      // WAL that nobody fetched may be in another base backup.
      for (const other of basesOnPath(chains, piece.timeline)) {
        const isNeeded = other.startLsn >= base.startLsn && other.endLsn <= piece.toLsn && !isCovered(wal, other);
        if (isNeeded) staying.add(other.id);
      }
    }
  }
}

/** Whether WAL backups hold all the WAL of a base backup. */
function isCovered(wal: readonly WalBackup[], { timeline, startLsn, endLsn }: StoredBase): boolean {
  let reached = startLsn;
  const pieces = wal.flatMap(({ facts }) => facts.pieces.filter((piece) => piece.timeline === timeline));
  for (const piece of pieces.toSorted((a, b) => (a.fromLsn < b.fromLsn ? -1 : 1))) {
    if (piece.fromLsn <= reached && piece.toLsn > reached) reached = piece.toLsn;
  }
  return reached >= endLsn;
}

function keepParents(chains: RecoveryChains, base: StoredBase, staying: Set<string>): void {
  for (const { id } of chainOf(chains, base) ?? []) staying.add(id);
}
