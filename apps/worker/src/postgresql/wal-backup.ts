import { sourcePassword, type BackupConfigRow } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { ChainBackup } from '@holdfast/database/chain-backups';
import type { RunOutcome } from '@holdfast/database/runs';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts } from '@holdfast/policy/recovery-facts';
import { factsOfRows, walStart, type WalPlace } from '@holdfast/policy/wal-start';
import { connectDatabase, connectWire, type DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import { assertSameCluster, identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { walSegmentStart } from '@holdfast/sources/postgresql/wal-segment';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import type { WalSourceOptions } from '@holdfast/sources/source-options/postgresql-wal';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { archiveWal } from './archive-wal.ts';
import { ensureSlot, ownSlotName } from './wal-slot.ts';

export interface WalToStore {
  readonly options: WalSourceOptions;
  /** Has the server and the password. */
  readonly baseConfig: BackupConfigRow;
  /** What listChainBackups says of it. */
  readonly chain: readonly ChainBackup[];
}

interface Reading {
  readonly connection: ConnectionOptions;
  readonly baseConfigId: string;
  readonly slot: string;
  readonly systemIdentifier: string;
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
  assertAllowedHost(source.connection, config.databaseHosts, 'postgresql_host_not_allowed');
  const password = (await sourcePassword(database.client, base.id, connectionPlace(source.connection), masterKey)) ?? undefined;
  const hint = `run the config ${base.id} (${base.name}): a new full backup begins a new chain`;
  const start = walStart(factsOfRows(chain));
  if (start === null) throw new HoldfastError('postgresql_wal_lost', `config ${base.id} has no backup yet that WAL could follow`, { hint });
  const reading = {
    connection: { ...source.connection, password, applicationName: 'holdfast backup' },
    baseConfigId: base.id,
    slot: options.slotName ?? ownSlotName(work.backupConfigId),
    systemIdentifier: start.systemIdentifier,
  };
  try {
    return await storeFrom(run, work, storing, reading, start.place);
  } catch (error) {
    if (!isHoldfastError(error, 'postgresql_wal_lost')) throw error;
    if (start.afterLoss === null) throw withHint(error, hint);
    run.logger.warn({ code: error.code, lsn: formatLsn(start.afterLoss.lsn) }, 'WAL is lost; goes on from a newer base backup');
    return await storeFrom(run, work, storing, reading, start.afterLoss).catch((again: unknown) => {
      throw isHoldfastError(again, 'postgresql_wal_lost') ? withHint(again, hint) : again;
    });
  }
}

function withHint(lost: HoldfastError, hint: string): HoldfastError {
  return new HoldfastError(lost.code, lost.message, { hint, context: lost.context, cause: lost });
}

async function storeFrom(
  run: RunInHand<'backup'>,
  work: BackupWork,
  storing: BackupStoring,
  { connection, baseConfigId, slot, systemIdentifier }: Reading,
  place: WalPlace,
): Promise<RunOutcome<'backup'>> {
  const { signal, context } = run;
  await using wire = await connectWire(connection, { mode: 'replication', signal });
  await using sql = await connectDatabase(connection, { signal });
  assertSameCluster(await identifySystem(wire), systemIdentifier);
  const slotPlace = { configId: work.backupConfigId, baseConfigId, connection, systemIdentifier, name: slot };
  await ensureSlot(context, { sql, wire }, slotPlace);
  const nowMs = (): number => context.clock.now().getTime();
  const options = { ...storing.options, onProgress: run.onProgress };
  const about = { place: connectionPlace(connection), configId: work.backupConfigId, baseConfigId };
  const { result, facts } = await archiveWal({ storing: options, wire, sql, slot, place, about, nowMs });
  const end = facts.pieces.at(-1)?.toLsn;
  if (end !== undefined) await letGo(run, sql, slot, walSegmentStart(end, facts.segmentSizeBytes));
  return backupOutcome(storing.options.repository.storage.location, result, { hostname: context.hostname, postgresql: encodeFacts(facts) });
}

/** The snapshot is durable, and found again by another attempt. What the server keeps for too long is let go by the next run. */
async function letGo(run: RunInHand<'backup'>, sql: DatabaseConnection, slot: string, lsn: bigint): Promise<void> {
  try {
    await sql.query('SELECT pg_replication_slot_advance($1, $2::pg_lsn)', [slot, formatLsn(lsn)]);
  } catch (error) {
    run.logger.warn({ err: error, slot }, 'the slot was not moved; the next run does it');
  }
}
