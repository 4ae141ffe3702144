import type { WatchedSlot } from '@holdfast/database/watched-slots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { connectionSchema, serverPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { z } from 'zod';
import { ownSlotName } from './wal-slot.ts';

/** The slot that a config needs, and where. */
export interface WantedSlot {
  readonly name: string;
  readonly baseConfigId: string;
  /** Without the password. */
  readonly connection: ConnectionOptions;
}

const walSchema = z.looseObject({ type: z.literal('postgresql_wal'), method: z.literal('wal'), slotName: z.string().optional() });
const physicalSchema = z.looseObject({ type: z.literal('postgresql'), method: z.literal('physical'), connection: z.unknown() });

/**
 * What the slot's config needs now; null when it needs none: it is deleted, takes no WAL any more, or its base takes no physical backups.
 * Code: request_invalid for a base whose connection cannot be read; then nobody knows, and the slot stays.
 */
export function wantedSlot({ backupConfig, backupConfigId, wantedBase }: WatchedSlot): WantedSlot | null {
  const wal = walSchema.safeParse(backupConfig.source);
  if (backupConfig.deletedAt !== null || !wal.success || wantedBase === null) return null;
  const connection = physicalConnection(wantedBase);
  if (connection === null) return null;
  return { name: wal.data.slotName ?? ownSlotName(backupConfigId), baseConfigId: wantedBase.id, connection };
}

/**
 * Whether the slot stays: it is what its config wants, or what is wanted in its place is not made yet. Dropped before that, the server
 * could forget WAL that nobody has stored.
 */
export function isNeeded({ name, server, made }: WatchedSlot, wanted: WantedSlot | null): boolean {
  if (wanted === null) return false;
  const place = { name: wanted.name, server: serverPlace(wanted.connection) };
  if (place.name === name && place.server === server) return true;
  return !made.some((other) => other.name === place.name && other.server === place.server);
}

/** How the server of a config with physical backups is reached; null for a config of another kind. Code: request_invalid. */
export function physicalConnection({ id, source }: { readonly id: string; readonly source: unknown }): ConnectionOptions | null {
  const physical = physicalSchema.safeParse(source);
  if (!physical.success) return null;
  const parsed = connectionSchema.safeParse(physical.data.connection);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request_invalid', `the connection of config ${id} does not fit: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}
