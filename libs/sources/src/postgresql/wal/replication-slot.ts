import { randomUUID } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { DatabaseConnection } from '../connect.ts';
import { parseLsn, type Lsn } from '../lsn.ts';
import type { WireConnection } from '../wire/wire-connection.ts';

/**
 * A physical replication slot: the server keeps all WAL from its restart LSN on, until the slot is moved or dropped. A slot that nobody
 * reads fills the server's disk, unless max_slot_wal_keep_size makes the server give it up first.
 */
export interface SlotStatus {
  readonly isActive: boolean;
  /** The oldest WAL that it keeps; null before it reserved any, and after it was lost. */
  readonly restartLsn: Lsn | null;
  /** `lost`: WAL that it was to keep is gone; `unreserved`: may go at the next checkpoint. */
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
  /** What it makes the server keep. */
  readonly retainedBytes: number;
  /** What may still be written until it is in danger; null without max_slot_wal_keep_size. */
  readonly safeBytes: number | null;
}

const slotName = /^[a-z0-9_]{1,63}$/u;

const statusSql = `SELECT slot_name::text AS name, active, restart_lsn, wal_status, safe_wal_size,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END - restart_lsn AS retained
  FROM pg_replication_slots WHERE slot_name = ANY($1::name[]) AND slot_type = 'physical'`;

/** A logical slot of that name is somebody else's. */
const dropSql = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'physical'`;

/**
 * Makes a slot that keeps WAL from now on. Codes: conflict (there is one of that name), postgresql_limit_reached, postgresql_denied,
 * postgresql_setting_missing.
 */
export async function createSlot(wire: WireConnection, name: string): Promise<void> {
  try {
    await wire.query(`CREATE_REPLICATION_SLOT ${quoted(name)} PHYSICAL RESERVE_WAL`, 'querying');
  } catch (error) {
    if (sqlStateOf(error) !== '42710') throw error;
    throw new HoldfastError('conflict', `the replication slot ${name} exists already`, {
      hint: 'see pg_replication_slots for who uses it, choose another name, or drop it',
      cause: error,
    });
  }
}

/**
 * Keeps all WAL from the last checkpoint on until this connection ends, however it ends, in a slot with a name that nobody else has. Codes:
 * postgresql_limit_reached, postgresql_denied, postgresql_setting_missing.
 */
export async function keepWalMeanwhile(wire: WireConnection): Promise<void> {
  const name = `holdfast_${randomUUID().replaceAll('-', '_')}`;
  await wire.query(`CREATE_REPLICATION_SLOT ${quoted(name)} TEMPORARY PHYSICAL RESERVE_WAL`, 'querying');
}

/** Its restart LSN and timeline over a replication connection, PostgreSQL 15 and newer; null when there is no such slot. */
export async function readSlotPosition(wire: WireConnection, name: string): Promise<{ restartLsn: Lsn; timeline: number } | null> {
  const [result] = await wire.query(`READ_REPLICATION_SLOT ${quoted(name)}`, 'reading_wal');
  const [type, lsn, timeline] = result?.rows[0] ?? [];
  if (type !== 'physical' || typeof lsn !== 'string' || typeof timeline !== 'string') return null;
  return { restartLsn: parseLsn(lsn), timeline: Number(timeline) };
}

/** Its state, over an ordinary connection of any role; null when there is no such slot. */
export async function readSlotStatus(database: DatabaseConnection, name: string): Promise<SlotStatus | null> {
  return (await readSlotStatuses(database, [name])).get(name) ?? null;
}

/** The states of those that there are, by their names. */
export async function readSlotStatuses(database: DatabaseConnection, names: readonly string[]): Promise<Map<string, SlotStatus>> {
  const rows = await database.query(statusSql, [names]);
  return new Map(rows.map((row) => [String(row['name']), statusOf(row)]));
}

function statusOf(row: Readonly<Record<string, unknown>>): SlotStatus {
  const { restart_lsn: restartLsn, wal_status: walStatus, safe_wal_size: safeBytes, retained } = row;
  return {
    isActive: row['active'] === true,
    restartLsn: typeof restartLsn === 'string' ? parseLsn(restartLsn) : null,
    walStatus: asWalStatus(walStatus),
    retainedBytes: Math.max(0, Number(retained ?? 0)),
    safeBytes: safeBytes === null ? null : Number(safeBytes),
  };
}

/**
 * Drops it, over an ordinary connection of a role with REPLICATION; false when there is no physical slot of that name. Codes:
 * postgresql_busy, while somebody streams from it; postgresql_denied.
 */
export async function dropSlot(database: DatabaseConnection, name: string): Promise<boolean> {
  try {
    return (await database.query(dropSql, [name])).length > 0;
  } catch (error) {
    if (sqlStateOf(error) === '42704') return false;
    throw error;
  }
}

/** As it stands in a replication command. Code: request_invalid. */
export function quoted(name: string): string {
  if (slotName.test(name)) return `"${name}"`;
  throw new HoldfastError('request_invalid', `${JSON.stringify(name)} is no name of a replication slot`, {
    hint: 'use up to 63 lower-case letters, digits and underscores',
  });
}

function asWalStatus(value: unknown): SlotStatus['walStatus'] {
  return value === 'reserved' || value === 'extended' || value === 'unreserved' || value === 'lost' ? value : null;
}

function sqlStateOf(error: unknown): unknown {
  return isHoldfastError(error) ? error.context['sqlState'] : undefined;
}
