import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { DatabaseConnection } from '../connect.ts';
import { parseLsn, type Lsn } from '../lsn.ts';
import type { WireConnection } from '../wire/wire-connection.ts';

/** Which cluster this is, and how far its log goes. */
export interface SystemIdentity {
  /** Made by initdb, the same on a primary and all its standbys. Decimal. */
  readonly systemIdentifier: string;
  /** The newest timeline. */
  readonly timeline: number;
  /** What is flushed to disk, on a standby received, at this moment. */
  readonly flushLsn: Lsn;
  readonly walSegmentSizeBytes: number;
}

const unitBytes: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** Asks over a replication connection. Codes: postgresql_interrupted, postgresql_failed. */
export async function identifySystem(wire: WireConnection): Promise<SystemIdentity> {
  const [size] = await wire.query('SHOW wal_segment_size', 'reading_wal');
  const [system] = await wire.query('IDENTIFY_SYSTEM', 'reading_wal');
  const [systemIdentifier, timeline, flushLsn] = system?.rows[0] ?? [];
  const [, number, unit] = /^(\d+)(B|kB|MB|GB)$/u.exec(size?.rows[0]?.[0] ?? '') ?? [];
  if (typeof systemIdentifier !== 'string' || typeof flushLsn !== 'string' || number === undefined || unit === undefined) {
    throw new HoldfastError('postgresql_failed', 'the server does not say who it is', { hint: 'give the address of a PostgreSQL server' });
  }
  const walSegmentSizeBytes = Number(number) * (unitBytes[unit] ?? 1);
  return { systemIdentifier, timeline: Number(timeline), flushLsn: parseLsn(flushLsn), walSegmentSizeBytes };
}

/** A log is one cluster's. Code: postgresql_wal_lost, when the server is of another cluster than the chain. */
export function assertSameCluster(system: Pick<SystemIdentity, 'systemIdentifier'>, systemIdentifier: string): void {
  if (system.systemIdentifier === systemIdentifier) return;
  const message = `this is the cluster ${system.systemIdentifier}, the chain is of ${systemIdentifier}`;
  throw new HoldfastError('postgresql_wal_lost', message);
}

/** Addresses at which both are the same lead to one server; a primary and its standbys have the first in common. */
export interface ServerInstance {
  readonly systemIdentifier: string;
  /** When it was started, to the microsecond. */
  readonly startedAt: string;
}

const instanceSql = `SELECT system_identifier::text AS system,
  to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started FROM pg_control_system()`;

/** Which server this is, over an ordinary connection of any role. */
export async function readServerInstance(database: DatabaseConnection): Promise<ServerInstance> {
  const [row] = await database.query<{ system: string; started: string }>(instanceSql);
  if (row === undefined) throw new HoldfastError('postgresql_failed', 'the server does not say who it is');
  return { systemIdentifier: row.system, startedAt: row.started };
}
