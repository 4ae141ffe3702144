import { formatLsn, parseLsn } from '@holdfast/sources/postgresql/lsn';
import { z } from 'zod';
import type { ArchivedWal, RecoveryChains, RestorePoint, StoredBase, TimelineParent } from './recovery-chains.ts';
import { segmentStart } from './recovery-chains.ts';
import { formatRecoveryTime, parseRecoveryTime } from './recovery-time.ts';

/**
 * What the row of a physical or incremental PostgreSQL backup says of it, in `metadata.postgresql`, and `backup.json` in its snapshot:
 * plain JSON, with LSNs as `16/B374D848` and times in UTC with microseconds. Rows of one chain together say what can be recovered.
 *
 *     { "kind": "base", "systemIdentifier": "7438…", "timeline": 1, "startLsn": "0/2000028", "endLsn": "0/2000158", "parentJobId": null, … }
 *     { "kind": "wal", "systemIdentifier": "7438…", "pieces": [{ "timeline": 1, "fromLsn": "0/2000000", "toLsn": "0/4B1C2E8", … }], … }
 */

const lsnCodec = z.codec(z.string(), z.bigint(), { decode: parseLsn, encode: formatLsn });
const timeCodec = z.codec(z.string(), z.bigint(), { decode: parseRecoveryTime, encode: formatRecoveryTime });
const timelineSchema = z.int().min(1);

const clusterShape = {
  /** Made by initdb, the same on a primary and its standbys; decimal. */
  systemIdentifier: z.string().regex(/^\d+$/u),
  majorVersion: z.int(),
  segmentSizeBytes: z.int().positive(),
};

/** A base backup, with the WAL from startLsn to endLsn in it. */
export const baseFactsSchema = z.strictObject({
  kind: z.literal('base'),
  ...clusterShape,
  /** Of the bootstrap superuser, which every cluster has: it is who asks a restored server. */
  superuser: z.string(),
  timeline: timelineSchema,
  startLsn: lsnCodec,
  endLsn: lsnCodec,
  /** By the server's clock. */
  endTime: timeCodec,
  /** The backup job that an incremental one builds on; null for a full one. */
  parentJobId: z.string().nullable(),
  checkedPageCount: z.int().nonnegative(),
  badPageCount: z.int().nonnegative(),
  /** The first ones. */
  badPages: z.array(z.strictObject({ path: z.string(), block: z.int().nonnegative() })),
});

/** WAL out of a replication slot: see ArchivedWal for what a piece says. */
export const walFactsSchema = z.strictObject({
  kind: z.literal('wal'),
  ...clusterShape,
  pieces: z.array(
    z.strictObject({
      timeline: timelineSchema,
      fromLsn: lsnCodec,
      toLsn: lsnCodec,
      lastCommit: timeCodec.nullable(),
      complete: timeCodec.nullable(),
    }),
  ),
  histories: z.array(
    z.strictObject({ timeline: timelineSchema, parents: z.array(z.strictObject({ timeline: timelineSchema, switchLsn: lsnCodec })) }),
  ),
  restorePoints: z.array(z.strictObject({ name: z.string(), timeline: timelineSchema, lsn: lsnCodec })),
});

export const recoveryFactsSchema = z.discriminatedUnion('kind', [baseFactsSchema, walFactsSchema]);

export type BaseFacts = z.output<typeof baseFactsSchema>;
export type WalFacts = z.output<typeof walFactsSchema>;
export type RecoveryFacts = BaseFacts | WalFacts;
export type EncodedRecoveryFacts = z.input<typeof recoveryFactsSchema>;

/** The metadata of a backup job's row; other fields in it are somebody else's. */
const metadataSchema = z.object({ postgresql: recoveryFactsSchema });

/** A backup of the chain: the id of its job, and its facts. */
export interface BackupFacts {
  readonly jobId: string;
  readonly facts: RecoveryFacts;
}

/** Null for a row that says nothing of that kind. Throws a ZodError for one that says it wrongly. */
export function factsOf(metadata: unknown): RecoveryFacts | null {
  if (typeof metadata !== 'object' || metadata === null || !('postgresql' in metadata)) return null;
  return metadataSchema.parse(metadata).postgresql;
}

/** As it is stored: JSON that factsOf reads. */
export function encodeFacts(facts: RecoveryFacts): EncodedRecoveryFacts {
  return z.encode(recoveryFactsSchema, facts);
}

/**
 * What the backups of one cluster amount to. The cluster is that of the newest base backup: a server that was made anew under the same
 * address begins a chain of its own, and what is of another cluster is left out. Null without any base backup.
 */
export function chainsOf(backups: readonly BackupFacts[]): (RecoveryChains & { readonly systemIdentifier: string }) | null {
  const bases = backups.flatMap(({ jobId, facts }) => (facts.kind === 'base' ? [{ jobId, facts }] : []));
  const newest = bases.reduce<(typeof bases)[number] | null>(
    (latest, base) => (latest === null || base.facts.endTime > latest.facts.endTime ? base : latest),
    null,
  );
  if (newest === null) return null;
  const { systemIdentifier, segmentSizeBytes } = newest.facts;
  const own = backups.filter(({ facts }) => facts.systemIdentifier === systemIdentifier);
  const wal = own.flatMap(({ facts }) => (facts.kind === 'wal' ? facts.pieces.map(asArchivedWal) : [walOfBase(facts)]));
  const walFacts = own.flatMap(({ facts }) => (facts.kind === 'wal' ? [facts] : []));
  return {
    systemIdentifier,
    segmentSizeBytes,
    bases: bases.filter(({ facts }) => facts.systemIdentifier === systemIdentifier).map(({ jobId, facts }) => asStoredBase(jobId, facts)),
    wal,
    histories: new Map(
      walFacts.flatMap(({ histories }) => histories.map(({ timeline, parents }): [number, TimelineParent[]] => [timeline, parents])),
    ),
    restorePoints: distinctPoints(walFacts.flatMap(({ restorePoints }) => restorePoints)),
  };
}

function asStoredBase(id: string, { timeline, startLsn, endLsn, endTime, parentJobId }: BaseFacts): StoredBase {
  return { id, timeline, startLsn, endLsn, endTimeUs: endTime, parentId: parentJobId };
}

function asArchivedWal({ timeline, fromLsn, toLsn, lastCommit, complete }: WalFacts['pieces'][number]): ArchivedWal {
  return { timeline, fromLsn, toLsn, lastCommitUs: lastCommit, completeUs: complete };
}

/** It holds whole segments, of which no more than the part that the backup needs is known to be the cluster's history. */
function walOfBase({ timeline, startLsn, endLsn, segmentSizeBytes }: BaseFacts): ArchivedWal {
  return { timeline, fromLsn: segmentStart(startLsn, segmentSizeBytes), toLsn: endLsn, lastCommitUs: null, completeUs: null };
}

/** A segment that was incomplete at the end of one run is fetched again by the next, with the points in it. */
function distinctPoints(points: readonly RestorePoint[]): RestorePoint[] {
  return [...new Map(points.map((point) => [`${point.timeline} ${point.lsn} ${point.name}`, point])).values()];
}
