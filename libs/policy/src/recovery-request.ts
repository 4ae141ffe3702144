import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseLsn } from '@holdfast/sources/postgresql/lsn';
import { chainOf, historiesOf, segmentEnd, segmentStart, type RecoveryChains, type StoredBase } from './recovery-chains.ts';
import { chainsOf, type BackupFacts, type BaseFacts } from './recovery-facts.ts';
import { planRecovery, type RecoveryPlan, type RecoveryStop, type RecoveryTarget } from './recovery-plan.ts';
import { parseRecoveryTime } from './recovery-time.ts';

/**
 * What a request to recover a physical or incremental backup takes: by the API before it accepts, and by the worker before it writes.
 */

/** As it stands in a request; exactly one of the first four. */
export interface PointInTime {
  readonly time?: string | undefined;
  readonly lsn?: string | undefined;
  readonly name?: string | undefined;
  readonly latest?: true | undefined;
  readonly inclusive?: boolean | undefined;
  readonly timeline?: number | undefined;
}

export interface JobPlan {
  readonly timeline: number;
  /** The full backup first; the last is the one that replay begins with, and its own WAL comes with it. */
  readonly backups: readonly StoredBase[];
  /** Of the last of the backups. */
  readonly base: BaseFacts;
  readonly segmentSizeBytes: number;
  /** Segments that are laid beside the data folder, each with the backup that holds the most of it, in the order of WAL. */
  readonly segments: readonly {
    readonly jobId: string;
    /** Whether that is a base backup, with this as WAL of its own. */
    readonly isOfBase: boolean;
    readonly timeline: number;
    readonly startLsn: bigint;
  }[];
  /** History files, each with a WAL backup that holds it. */
  readonly histories: readonly { readonly jobId: string; readonly timeline: number }[];
  readonly stop: RecoveryStop | { readonly kind: 'immediate' };
}

/** Code: request_invalid. */
export function recoveryTargetOf({ time, lsn, name, latest, inclusive, timeline }: PointInTime): RecoveryTarget {
  const more = { ...(inclusive === undefined ? {} : { inclusive }), ...(timeline === undefined ? {} : { timeline }) };
  if ([time, lsn, name, latest].filter((each) => each !== undefined).length !== 1) {
    throw new HoldfastError('request_invalid', 'a point in time is given by exactly one of time, lsn, name and latest');
  }
  if (time !== undefined) return { kind: 'time', timeUs: parseRecoveryTime(time), ...more };
  if (lsn !== undefined) return { kind: 'lsn', lsn: parseLsn(lsn), ...more };
  return name === undefined ? { kind: 'latest', ...more } : { kind: 'name', name, ...more };
}

/**
 * Plans the recovery of a backup of a chain to a target of its cluster; without a target to the end of what the backup itself holds: a
 * base backup's consistent state, or the end of a WAL backup. `backups`: all that are there of the chain, the oldest first.
 * Codes: postgresql_target_uncovered, postgresql_chain_broken, backup_not_usable.
 */
export function planJobRecovery(backups: readonly BackupFacts[], jobId: string, target: RecoveryTarget | null): JobPlan {
  const index = backups.findIndex((backup) => backup.jobId === jobId);
  const facts = backups[index]?.facts;
  if (facts === undefined) throw new HoldfastError('backup_not_usable', `backup job ${jobId} is in no chain of backups any more`);
  const ofCluster = backups.filter((backup) => backup.facts.systemIdentifier === facts.systemIdentifier);
  if (target !== null) return planAmong(ofCluster, target);
  if (facts.kind === 'base') return planOfBase(ofCluster, jobId);
  const last = facts.pieces.at(-1);
  if (last === undefined) throw new HoldfastError('backup_not_usable', `backup job ${jobId} holds no WAL`);
  // What came later may hold more of the last segment, and newer bases.
  const before = ofCluster.filter((backup) => backups.indexOf(backup) <= index);
  return planAmong(before, { kind: 'lsn', lsn: last.toLsn, inclusive: false, timeline: last.timeline });
}

function planAmong(backups: readonly BackupFacts[], target: RecoveryTarget): JobPlan {
  const chains: RecoveryChains = chainsOf(backups) ?? {
    bases: [],
    wal: [],
    histories: new Map(),
    restorePoints: [],
    segmentSizeBytes: backups[0]?.facts.segmentSizeBytes ?? 1,
  };
  const { timeline, backups: bases, wal, histories, stop } = planRecovery(chains, target);
  const base = factsOfBase(backups, bases);
  const own = bases.at(-1)?.id;
  const segments = wal.flatMap((piece) => segmentsOf(piece, chains.segmentSizeBytes)).map((segment) => withHolder(segment, backups));
  return {
    timeline,
    backups: bases,
    base,
    segmentSizeBytes: chains.segmentSizeBytes,
    segments: segments.filter((segment) => segment.jobId !== own),
    histories: holdersOfHistories(backups, histories),
    stop,
  };
}

function planOfBase(backups: readonly BackupFacts[], jobId: string): JobPlan {
  const chains = chainsOf(backups);
  const newest = chains?.bases.find(({ id }) => id === jobId);
  const chain = chains === null || newest === undefined ? null : chainOf(chains, newest);
  if (chains === null || newest === undefined || chain === null) {
    throw new HoldfastError('postgresql_chain_broken', `a backup that backup job ${jobId} builds on is gone`);
  }
  return {
    timeline: newest.timeline,
    backups: chain,
    base: factsOfBase(backups, chain),
    segmentSizeBytes: chains.segmentSizeBytes,
    segments: [],
    histories: holdersOfHistories(backups, historiesOf(chains, newest.timeline)),
    stop: { kind: 'immediate' },
  };
}

function factsOfBase(backups: readonly BackupFacts[], bases: readonly StoredBase[]): BaseFacts {
  const facts = backups.find(({ jobId }) => jobId === bases.at(-1)?.id)?.facts;
  if (facts?.kind === 'base') return facts;
  throw new HoldfastError('internal', 'a plan without a base backup');
}

interface Segment {
  readonly timeline: number;
  readonly startLsn: bigint;
  readonly endLsn: bigint;
}

function segmentsOf({ timeline, fromLsn, toLsn }: RecoveryPlan['wal'][number], sizeBytes: number): Segment[] {
  const size = BigInt(sizeBytes);
  const count = Number((segmentEnd(toLsn, sizeBytes) - segmentStart(fromLsn, sizeBytes)) / size);
  return Array.from({ length: count }, (_, nth) => {
    const startLsn = segmentStart(fromLsn, sizeBytes) + BigInt(nth) * size;
    return { timeline, startLsn, endLsn: startLsn + size };
  });
}

/** Several may hold it: one run its beginning, padded, the next one all of it. */
function withHolder({ timeline, startLsn, endLsn }: Segment, backups: readonly BackupFacts[]): JobPlan['segments'][number] {
  let holder: { jobId: string; isOfBase: boolean; toLsn: bigint } | null = null;
  for (const { jobId, facts } of backups) {
    const pieces = facts.kind === 'wal' ? facts.pieces : [{ timeline: facts.timeline, fromLsn: facts.startLsn, toLsn: facts.endLsn }];
    for (const piece of pieces) {
      if (piece.timeline !== timeline || piece.fromLsn >= endLsn || piece.toLsn <= startLsn) continue;
      const toLsn = piece.toLsn < endLsn ? piece.toLsn : endLsn;
      if (holder === null || toLsn >= holder.toLsn) holder = { jobId, isOfBase: facts.kind === 'base', toLsn };
    }
  }
  if (holder === null) throw new HoldfastError('internal', 'WAL of a plan is in no backup');
  return { jobId: holder.jobId, isOfBase: holder.isOfBase, timeline, startLsn };
}

function holdersOfHistories(backups: readonly BackupFacts[], timelines: readonly number[]): JobPlan['histories'] {
  return timelines.flatMap((timeline) => {
    const holder = backups.findLast(
      ({ facts }) => facts.kind === 'wal' && facts.histories.some((history) => history.timeline === timeline),
    );
    return holder === undefined ? [] : [{ jobId: holder.jobId, timeline }];
  });
}
