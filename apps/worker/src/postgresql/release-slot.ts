import { isDeepStrictEqual } from 'node:util';
import { runTransaction } from '@holdfast/database/in-transaction';
import { lockSlot, recordSlotDropped, type WatchedSlot } from '@holdfast/database/watched-slots';
import type { DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { dropSlot, type SlotStatus } from '@holdfast/sources/postgresql/wal/replication-slot';
import { readServerInstance, type ServerInstance } from '@holdfast/sources/postgresql/wal/system-identity';
import type { WorkerContext } from '../worker-context.ts';
import { connectToSlots } from './slot-server.ts';
import { foreignSlot, ownSlotName } from './wal-slot.ts';
import { isNeeded, wantedSlot, type WantedSlot } from './wanted-slot.ts';

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
 * Drops a slot that its config does not need, and forgets it. When the config has only come to name the server otherwise, it is the slot
 * that is needed, and only what was noted under the former address is forgotten. Whoever changes the config meanwhile waits, and is asked
 * in the next round. Codes: postgresql_busy (somebody streams from it), conflict (it may be somebody else's), those of connectToSlots.
 */
export async function releaseSlot(
  context: WorkerContext,
  slot: WatchedSlot,
  { sql, instance, status }: SlotPresence,
  wanted: WantedSlot | null,
  signal: AbortSignal,
): Promise<void> {
  const { database, logger } = context;
  const isWantedOne = wanted?.name === slot.name && (await isAt(context, wanted, instance, signal));
  const isDropped = await runTransaction(database, dropLimitMs, async (tx) => {
    const now = await lockSlot(tx, slot.id);
    if (now === null || isNeeded(now, wantedSlot(now)) || !isDeepStrictEqual(wantedSlot(now), wanted)) return null;
    const isOurs = now.madeAt !== null || now.name === ownSlotName(now.backupConfigId);
    if (status !== null && !isOurs)
      throw foreignSlot(now.name, 'may be of somebody else: nobody noted that it was made; it is not dropped');
    const wasThere = !isWantedOne && (await dropSlot(sql, now.name));
    await recordSlotDropped(tx, now, wasThere);
    return wasThere;
  });
  if (isDropped === null) return;
  const about = { slot: slot.name, server: slot.server, backupConfigId: slot.backupConfigId };
  logger.info(about, isDropped ? 'a replication slot that no config needs is dropped' : 'a replication slot is forgotten');
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
