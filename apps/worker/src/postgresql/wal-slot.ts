import { claimReplicationSlot, recordSlotMade, releaseReplicationSlot, type NewSlot } from '@holdfast/database/replication-slots';
import { inTransaction } from '@holdfast/database/in-transaction';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, serverPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { createSlot, dropSlot, readSlotStatus } from '@holdfast/sources/postgresql/wal/replication-slot';
import type { WireConnection } from '@holdfast/sources/postgresql/wire/wire-connection';
import type { WorkerContext } from '../worker-context.ts';

export interface SlotPlace {
  readonly configId: string;
  /** The config that the connection and its password are of. */
  readonly baseConfigId: string;
  readonly connection: ConnectionOptions;
  /** The cluster that the server was found to be of. */
  readonly systemIdentifier: string;
  readonly name: string;
}

/** What the server said no with: nothing was made. Any other end of the connection leaves it open. */
const refusals = ['conflict', 'postgresql_denied', 'postgresql_limit_reached', 'postgresql_setting_missing', 'request_invalid'] as const;

/** The name of a config's slot when it is given no other: nobody else uses it. */
export function ownSlotName(configId: string): string {
  return `holdfast_${configId.toLowerCase()}`;
}

/**
 * Sees to it that the config's slot is there. One that is lost, or was dropped by somebody, is made anew: it keeps what comes from now on.
 * The row that says that the slot is ours is written before it is made, so that none is left that nobody knows of; only a second note says
 * that it was made. Between the two, a slot that is found may be anybody's, unless its name has the config's id in it.
 * Codes: conflict (a slot of that name that is, or may be, somebody else's), those of createSlot.
 */
export async function ensureSlot(
  { database, masterKey, clock }: Pick<WorkerContext, 'database' | 'masterKey' | 'clock'>,
  { sql, wire }: { readonly sql: DatabaseConnection; readonly wire: WireConnection },
  place: SlotPlace,
): Promise<void> {
  const { configId, name } = place;
  const slot = newSlot(place);
  const { id, isNew, isMade, isMadeElsewhere } = await inTransaction(database, (tx) => claimReplicationSlot(tx, slot, masterKey));
  const noteMade = (): Promise<void> => inTransaction(database, (tx) => recordSlotMade(tx, slot, masterKey, clock.now()));
  const status = await readSlotStatus(sql, name);
  if (status !== null) {
    const isOurs = isMade || isMadeElsewhere || (!isNew && name === ownSlotName(configId));
    if (!isOurs) {
      if (isNew) await releaseReplicationSlot(database.client, id);
      throw foreignSlot(name, isNew ? 'was not made by this config' : 'may be of somebody else: nobody noted that it was made');
    }
    if (status.walStatus !== 'lost') return isMade ? undefined : await noteMade();
    await dropSlot(sql, name);
  }
  try {
    await createSlot(wire, name);
  } catch (error) {
    // A logical slot has names in common with physical ones.
    if (isNew && refusals.some((code) => isHoldfastError(error, code))) await releaseReplicationSlot(database.client, id);
    throw error;
  }
  await noteMade();
}

/** As rows have it. */
function newSlot({ configId, baseConfigId, connection, systemIdentifier, name }: SlotPlace): NewSlot {
  const { host, port, user, password, database, tls } = connection;
  return {
    backupConfigId: configId,
    baseConfigId,
    name,
    server: serverPlace(connection),
    systemIdentifier,
    connection: { host, port, user, database, tls },
    place: connectionPlace(connection),
    password: password ?? null,
  };
}

export function foreignSlot(name: string, why: string): HoldfastError {
  return new HoldfastError('conflict', `the replication slot ${name} exists already and ${why}`, {
    hint: `see pg_replication_slots for who uses it; when nobody does: SELECT pg_drop_replication_slot('${name}'); or give the config another slotName`,
  });
}
