import { isDeepStrictEqual } from 'node:util';
import { sourcePassword } from '@holdfast/database/backup-configs';
import { inTransaction, runTransaction } from '@holdfast/database/in-transaction';
import { moveReplicationSlot } from '@holdfast/database/replication-slots';
import { lockSlot, recordSlotDropped, type WatchedSlot } from '@holdfast/database/watched-slots';
import type { DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { dropSlot, type SlotStatus } from '@holdfast/sources/postgresql/wal/replication-slot';
import { readServerInstance, type ServerInstance } from '@holdfast/sources/postgresql/wal/system-identity';
import type { WorkerContext } from '../worker-context.ts';
import { connectToSlots } from './slot-server.ts';
import { foreignSlot, newSlot, ownSlotName } from './wal-slot.ts';
import { wantedSlot, type WantedSlot } from './wanted-slot.ts';

/** How long the rows of a slot and its configs are held while it is dropped. */
const dropLimitMs = 10_000;

/** What is known of the slot's server, over a connection that is open. */
export interface SlotPresence {
  readonly sql: DatabaseConnection;
  readonly instance: ServerInstance;
  /** Null when there is no such slot. */
  readonly status: SlotStatus | null;
}

/**
 * Drops a slot that is not wanted where it is, and forgets it. When the config has only come to name its server otherwise, the slot stays
 * and is noted under the new address: dropping it would lose WAL. Whoever changes the config meanwhile waits, and is asked again in
 * the next round. Codes: postgresql_busy (somebody streams from it), conflict (it may be somebody else's), those of connectToSlots.
 */
export async function releaseSlot(
  context: WorkerContext,
  slot: WatchedSlot,
  { sql, instance, status }: SlotPresence,
  wanted: WantedSlot | null,
  signal: AbortSignal,
): Promise<void> {
  const { database, logger } = context;
  const about = { slot: slot.name, server: slot.server, backupConfigId: slot.backupConfigId };
  if (wanted?.name === slot.name && (await isAt(context, wanted, instance, signal))) {
    await move(context, slot, wanted);
    return logger.info({ ...about, now: connectionPlace(wanted.connection) }, 'the server of a replication slot has another address');
  }
  const wasThere = await runTransaction(database, dropLimitMs, async (tx) => {
    const now = await lockSlot(tx, slot.id);
    if (now === null || !isDeepStrictEqual(wantedSlot(now), wanted)) return null;
    const isOurs = now.madeAt !== null || now.name === ownSlotName(now.backupConfigId);
    if (status !== null && !isOurs)
      throw foreignSlot(now.name, 'may be of somebody else: nobody noted that it was made; it is not dropped');
    const isDropped = await dropSlot(sql, now.name);
    await recordSlotDropped(tx, now, isDropped);
    return isDropped;
  });
  if (wasThere !== null) logger.info({ ...about, wasThere }, 'a replication slot that no config needs is gone');
}

/** Whether what the config names now is the very server at which the slot is. */
async function isAt(
  context: WorkerContext,
  { connection, baseConfigId }: WantedSlot,
  { systemIdentifier, startedAt }: ServerInstance,
  signal: AbortSignal,
): Promise<boolean> {
  await using sql = await connectToSlots(context, { connection, passwordOf: { baseConfigId } }, signal);
  const there = await readServerInstance(sql);
  return there.systemIdentifier === systemIdentifier && there.startedAt === startedAt;
}

async function move({ database, masterKey }: WorkerContext, slot: WatchedSlot, wanted: WantedSlot): Promise<void> {
  const { backupConfigId: configId, systemIdentifier } = slot;
  await inTransaction(database, async (tx) => {
    const now = await lockSlot(tx, slot.id);
    if (now === null || !isDeepStrictEqual(wantedSlot(now), wanted)) return;
    const { baseConfigId, connection, name } = wanted;
    const password = (await sourcePassword(tx, baseConfigId, connectionPlace(connection), masterKey)) ?? undefined;
    const place = newSlot({ configId, baseConfigId, name, systemIdentifier, connection: { ...connection, password } });
    await moveReplicationSlot(tx, slot.id, place, masterKey);
  });
}
