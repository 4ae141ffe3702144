import { sourcePassword } from '@holdfast/database/backup-configs';
import { slotPassword } from '@holdfast/database/replication-slots';
import type { WatchedSlot } from '@holdfast/database/watched-slots';
import { connectDatabase, type DatabaseConnection } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, connectionSchema, serverPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import type { WorkerContext } from '../worker-context.ts';
import { physicalConnection } from './wanted-slot.ts';

/** A server that lets nobody in for longer is as good as away. */
const connectTimeoutMs = 10_000;

/** The server at which slots were made, and how it is reached. */
export interface SlotServer {
  readonly connection: ConnectionOptions;
  /** Who has the password: the config, as long as it is for this server, else the slot, which had it noted when it was made. */
  readonly passwordOf: { readonly baseConfigId: string } | { readonly slotId: string };
}

/** Code: request_invalid. Throws a ZodError for a connection that was not noted by us. */
export function serverOf({ id, baseConfig, connection, server }: WatchedSlot): SlotServer {
  const now = physicalConnection(baseConfig);
  if (now !== null && serverPlace(now) === server) return { connection: now, passwordOf: { baseConfigId: baseConfig.id } };
  return { connection: connectionSchema.parse(connection), passwordOf: { slotId: id } };
}

/** Slots with the same key are reached by one connection. */
export function serverKey({ baseConfig, connection, server }: WatchedSlot): string {
  return JSON.stringify([baseConfig.id, server, connection]);
}

/** Codes: postgresql_host_not_allowed, secret_unreadable, those of connectDatabase; the signal's reason. */
export async function connectToSlots(
  { database, masterKey, config }: Pick<WorkerContext, 'database' | 'masterKey' | 'config'>,
  { connection, passwordOf }: SlotServer,
  signal: AbortSignal,
): Promise<DatabaseConnection> {
  assertAllowedHost(connection, config.databaseHosts, 'postgresql_host_not_allowed');
  const place = connectionPlace(connection);
  const password =
    'slotId' in passwordOf
      ? await slotPassword(database.client, passwordOf.slotId, place, masterKey)
      : await sourcePassword(database.client, passwordOf.baseConfigId, place, masterKey);
  const options = { ...connection, password: password ?? undefined, applicationName: 'holdfast slots', connectTimeoutMs };
  return await connectDatabase(options, { signal });
}
