import { claimReplicationSlot, releaseReplicationSlot } from '@holdfast/database/replication-slots';
import type { Database } from '@holdfast/database/open-database';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { createSlot, dropSlot, readSlotStatus } from '@holdfast/sources/postgresql/wal/replication-slot';
import type { WireConnection } from '@holdfast/sources/postgresql/wire/wire-connection';

export interface SlotPlace {
  readonly configId: string;
  readonly name: string;
}

/**
 * Sees to it that the config's slot is there. One that is lost, or was dropped by somebody, is made anew: it keeps what comes from now on.
 * The row that says that the slot is ours is written before it is made, so that none is left that nobody knows of.
 * Codes: conflict (a slot of that name that is somebody else's), those of createSlot.
 */
export async function ensureSlot(
  database: Database,
  { sql, wire }: { readonly sql: DatabaseConnection; readonly wire: WireConnection },
  { configId, name }: SlotPlace,
): Promise<void> {
  const isNew = await claimReplicationSlot(database.client, configId, name);
  const status = await readSlotStatus(sql, name);
  if (status !== null && isNew) {
    await releaseReplicationSlot(database.client, configId);
    throw new HoldfastError('conflict', `the replication slot ${name} exists already and was not made by this config`, {
      hint: 'see pg_replication_slots for who uses it; drop it, or give the config another slotName',
    });
  }
  if (status !== null && status.walStatus !== 'lost') return;
  if (status !== null) await dropSlot(wire, name);
  try {
    await createSlot(wire, name);
  } catch (error) {
    // A logical slot has names in common with physical ones.
    if (isNew && isHoldfastError(error)) await releaseReplicationSlot(database.client, configId);
    throw error;
  }
}
