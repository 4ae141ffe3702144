import { archiveStream, type ArchiveStreamOptions } from '@holdfast/engine/archive-stream';
import type { ArchiveResult } from '@holdfast/engine/archiver';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { WalFacts } from '@holdfast/policy/recovery-facts';
import { parseRecoveryTime } from '@holdfast/policy/recovery-time';
import type { WalPlace } from '@holdfast/policy/wal-start';
import type { DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { parseLsn } from '@holdfast/sources/postgresql/lsn';
import { endOfInserted } from '@holdfast/sources/postgresql/wal/insert-position';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { WalReceiver } from '@holdfast/sources/postgresql/wal/wal-receiver';
import { walReadme, type WalReadmeOptions } from '@holdfast/sources/postgresql/wal/wal-readme';
import { walSegmentStart } from '@holdfast/sources/postgresql/wal-segment';
import type { WireConnection } from '@holdfast/sources/postgresql/wire/wire-connection';
import { factsPath, factsText } from './stored-facts.ts';
import { addFile, storeWal, walPaths } from './wal-store.ts';

/** One run takes no more, so that what it holds up at the server is let go now and then; the next one goes on. */
const maxRunBytes = 64n * 1024n ** 3n;
const majorFactor = 10_000;

/** Asked before the log is read: at this time there was no WAL beyond this place. A standby cannot know what its primary has by then. */
const clockSql = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END AS lsn, current_setting('wal_block_size') AS page`;

export interface WalArchiving {
  readonly storing: Omit<ArchiveStreamOptions, 'paths' | 'receive'>;
  /** A replication connection; closed when reading ends early. */
  readonly wire: WireConnection;
  readonly sql: DatabaseConnection;
  /** It is there. */
  readonly slot: string;
  /** Where what is stored ends. */
  readonly place: WalPlace;
  /** For whoever restores it by hand. */
  readonly about: Omit<WalReadmeOptions, 'majorVersion'>;
  readonly nowMs: () => number;
  /** It takes no more, but for what is left of the segment in which that ends. Whole segments; default 64 GiB. */
  readonly maxBytes?: bigint;
}

export interface ArchivedRun {
  readonly result: ArchiveResult;
  readonly facts: WalFacts;
}

/**
 * Stores the WAL from a place up to what the server had when it was asked, as a snapshot. Whoever calls lets the server forget it.
 * Codes: those of WalReceiver and of archiveStream.
 */
export async function archiveWal(archiving: WalArchiving): Promise<ArchivedRun> {
  const { storing, wire, sql, slot, place, about, nowMs, maxBytes = maxRunBytes } = archiving;
  const clock = await readClock(sql);
  const { systemIdentifier, flushLsn, walSegmentSizeBytes: segmentSizeBytes } = await identifySystem(wire);
  const writtenLsn = clock.insertLsn === null ? null : endOfInserted(clock.insertLsn, { ...clock, segmentSizeBytes });
  const from = walSegmentStart(place.lsn, segmentSizeBytes);
  const stopLsn = flushLsn - from > maxBytes ? from + maxBytes : flushLsn;
  const receiver = new WalReceiver(wire, { slot, timeline: place.timeline, startLsn: place.lsn, stopLsn, systemIdentifier, nowMs });
  const majorVersion = Math.floor(wire.serverVersion / majorFactor);
  const madeAtNs = clock.nowUs * 1000n;
  let facts: WalFacts | undefined;
  const result = await archiveStream({
    ...storing,
    paths: walPaths,
    expected: { files: Number((stopLsn - from) / BigInt(segmentSizeBytes)) + 1, bytes: Number(stopLsn - from) },
    receive: async (sink) => {
      const stored = await storeWal(receiver.entries(), sink, { segmentSizeBytes, madeAtNs });
      const last = stored.pieces.at(-1);
      // A server that is behind what is stored is not the one that it was.
      const isAll = last !== undefined && writtenLsn !== null && place.lsn <= writtenLsn && writtenLsn <= last.toLsn;
      if (isAll) last.complete = clock.nowUs;
      facts = { kind: 'wal', systemIdentifier, majorVersion, segmentSizeBytes, ...stored };
      await addFile(sink, '/README.txt', [Buffer.from(walReadme({ ...about, majorVersion }))], madeAtNs);
      await addFile(sink, factsPath, [Buffer.from(factsText(facts))], madeAtNs);
    },
  });
  if (facts === undefined) throw new HoldfastError('internal', 'WAL was stored without its facts');
  return { result, facts };
}

async function readClock(sql: DatabaseConnection): Promise<{ nowUs: bigint; insertLsn: bigint | null; pageBytes: number }> {
  const [row] = await sql.query<{ now: string; lsn: string | null; page: string }>(clockSql);
  if (row === undefined) throw new HoldfastError('postgresql_failed', 'the server does not tell its time');
  return { nowUs: parseRecoveryTime(row.now), insertLsn: row.lsn === null ? null : parseLsn(row.lsn), pageBytes: Number(row.page) };
}
