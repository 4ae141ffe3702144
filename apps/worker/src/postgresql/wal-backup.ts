import { sourcePassword, type BackupConfigRow } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { ChainBackup } from '@holdfast/database/chain-backups';
import type { RunOutcome } from '@holdfast/database/runs';
import { archiveStream } from '@holdfast/engine/archive-stream';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts, type WalFacts } from '@holdfast/policy/recovery-facts';
import { parseRecoveryTime } from '@holdfast/policy/recovery-time';
import { factsOfRows, walStart, type WalPlace } from '@holdfast/policy/wal-start';
import { connectDatabase, connectWire, type DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/sources/postgresql/database-hosts';
import { formatLsn, parseLsn } from '@holdfast/sources/postgresql/lsn';
import { endOfInserted } from '@holdfast/sources/postgresql/wal/insert-position';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { WalReceiver } from '@holdfast/sources/postgresql/wal/wal-receiver';
import { walReadme } from '@holdfast/sources/postgresql/wal/wal-readme';
import { walSegmentStart } from '@holdfast/sources/postgresql/wal-segment';
import { parseSourceOptions, type WalSourceOptions } from '@holdfast/sources/source-options';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { factsPath, factsText } from './stored-facts.ts';
import { ensureSlot } from './wal-slot.ts';
import { addFile, storeWal, walPaths } from './wal-store.ts';

/** One run takes no more, so that what it holds up at the server is let go now and then; the next one goes on. */
const maxRunBytes = 64n * 1024n ** 3n;
const majorFactor = 10_000;

/** Asked before the log is read: at this time there was no WAL beyond this place. A standby cannot know what its primary has by then. */
const clockSql = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END AS lsn, current_setting('wal_block_size') AS page`;

export interface WalToStore {
  readonly options: WalSourceOptions;
  /** Has the server and the password. */
  readonly baseConfig: BackupConfigRow;
  /** What listChainBackups says of it. */
  readonly chain: readonly ChainBackup[];
}

interface Reading {
  readonly connection: ConnectionOptions;
  readonly slot: string;
  readonly systemIdentifier: string;
  readonly baseConfigId: string;
}

/**
 * Stores the WAL that came since the chain's last backup, and then lets the server forget it. WAL that is lost makes a gap when a newer
 * base backup is there to go on from. Codes: postgresql_wal_lost, conflict, postgresql_host_not_allowed, secret_unreadable, those of
 * WalReceiver, of connectWire and of archiveStream.
 */
export async function backUpWal(
  run: RunInHand<'backup'>,
  work: BackupWork,
  { options, baseConfig: base, chain }: WalToStore,
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  const { config, database, masterKey } = run.context;
  const source = parseSourceOptions(base.source);
  if (source.type !== 'postgresql' || source.method !== 'physical') {
    throw new HoldfastError('request_invalid', `backup config ${base.id} takes no physical backups to build on`);
  }
  assertAllowedHost(source.connection, config.databaseHosts);
  const password = (await sourcePassword(database.client, base.id, connectionPlace(source.connection), masterKey)) ?? undefined;
  const hint = `run the config ${base.id} (${base.name}): a new full backup begins a new chain`;
  const start = walStart(factsOfRows(chain));
  if (start === null) throw new HoldfastError('postgresql_wal_lost', `config ${base.id} has no backup yet that WAL could follow`, { hint });
  const reading = {
    connection: { ...source.connection, password, applicationName: 'holdfast backup' },
    slot: options.slotName ?? `holdfast_${work.backupConfigId.toLowerCase()}`,
    systemIdentifier: start.systemIdentifier,
    baseConfigId: base.id,
  };
  try {
    return await storeFrom(run, work, storing, reading, start.place);
  } catch (error) {
    if (!isHoldfastError(error, 'postgresql_wal_lost')) throw error;
    if (start.afterLoss === null)
      throw new HoldfastError('postgresql_wal_lost', error.message, { hint, context: error.context, cause: error });
    run.logger.warn({ code: error.code, lsn: formatLsn(start.afterLoss.lsn) }, 'WAL is lost; goes on from a newer base backup');
    return await storeFrom(run, work, storing, reading, start.afterLoss);
  }
}

async function storeFrom(
  run: RunInHand<'backup'>,
  work: BackupWork,
  storing: BackupStoring,
  { connection, slot, systemIdentifier, baseConfigId }: Reading,
  place: WalPlace,
): Promise<RunOutcome<'backup'>> {
  const { signal, context } = run;
  await using wire = await connectWire(connection, { mode: 'replication', signal });
  await using sql = await connectDatabase(connection, { signal });
  await ensureSlot(context.database, { sql, wire }, { configId: work.backupConfigId, name: slot });
  const clock = await readClock(sql);
  const system = await identifySystem(wire);
  const segmentSizeBytes = system.walSegmentSizeBytes;
  const writtenLsn = clock.insertLsn === null ? null : endOfInserted(clock.insertLsn, { ...clock, segmentSizeBytes });
  const from = walSegmentStart(place.lsn, segmentSizeBytes);
  const stopLsn = system.flushLsn - from > maxRunBytes ? from + maxRunBytes : system.flushLsn;
  const receiver = new WalReceiver(wire, {
    slot,
    timeline: place.timeline,
    startLsn: place.lsn,
    stopLsn,
    systemIdentifier,
    nowMs: () => context.clock.now().getTime(),
  });
  const majorVersion = Math.floor(wire.serverVersion / majorFactor);
  const madeAtNs = clock.nowUs * 1000n;
  let facts: WalFacts | undefined;
  const result = await archiveStream({
    ...storing.options,
    paths: walPaths,
    expected: { files: Number((stopLsn - from) / BigInt(segmentSizeBytes)) + 1, bytes: Number(stopLsn - from) },
    receive: async (sink) => {
      const stored = await storeWal(receiver.entries(), sink, { segmentSizeBytes, madeAtNs });
      const last = stored.pieces.at(-1);
      // A server that is behind what is stored is not the one that it was.
      const isAll = last !== undefined && writtenLsn !== null && place.lsn <= writtenLsn && writtenLsn <= last.toLsn;
      if (isAll) last.complete = clock.nowUs;
      facts = { kind: 'wal', systemIdentifier, majorVersion, segmentSizeBytes, ...stored };
      const readme = walReadme({ place: connectionPlace(connection), majorVersion, configId: work.backupConfigId, baseConfigId });
      await addFile(sink, '/README.txt', [Buffer.from(readme)], madeAtNs);
      await addFile(sink, factsPath, [Buffer.from(factsText(facts))], madeAtNs);
    },
    onProgress: run.onProgress,
  });
  if (facts === undefined) throw new HoldfastError('internal', 'WAL was stored without its facts');
  const end = facts.pieces.at(-1)?.toLsn;
  if (end !== undefined) await letGo(run, sql, slot, walSegmentStart(end, segmentSizeBytes));
  return backupOutcome(storing.options.repository.storage.location, result, { hostname: context.hostname, postgresql: encodeFacts(facts) });
}

async function readClock(sql: DatabaseConnection): Promise<{ nowUs: bigint; insertLsn: bigint | null; pageBytes: number }> {
  const [row] = await sql.query<{ now: string; lsn: string | null; page: string }>(clockSql);
  if (row === undefined) throw new HoldfastError('postgresql_failed', 'the server does not tell its time');
  return { nowUs: parseRecoveryTime(row.now), insertLsn: row.lsn === null ? null : parseLsn(row.lsn), pageBytes: Number(row.page) };
}

/** The snapshot is durable, and found again by another attempt. What the server keeps for too long is let go by the next run. */
async function letGo(run: RunInHand<'backup'>, sql: DatabaseConnection, slot: string, lsn: bigint): Promise<void> {
  try {
    await sql.query('SELECT pg_replication_slot_advance($1, $2::pg_lsn)', [slot, formatLsn(lsn)]);
  } catch (error) {
    run.logger.warn({ err: error, slot }, 'the slot was not moved; the next run does it');
  }
}
