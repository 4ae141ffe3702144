import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts';
import { startServer, type ServerOptions, type StartedServer } from './started-server.ts';

/**
 * A server that recovers a restored data folder and then can be asked. `pg_ctl -w start` answers 0 while the server still replays and may
 * yet fail, so it is believed only when it says itself that it is no longer in recovery; what its log says of a failure becomes an error
 * of its own.
 */
export interface RecoveryServerOptions extends Omit<ServerOptions, 'startTimeoutMs'> {
  /** For all of the recovery. */
  readonly recoveryTimeoutMs: number;
  /** WAL is known to hold a record that ends here: with less replayed the recovery has failed, whatever the server says. */
  readonly leastLsn?: Lsn | undefined;
}

export interface RecoveryServer extends StartedServer {
  readonly recovered: Recovered;
}

export interface Recovered {
  /** From the start of the server. */
  readonly durationMs: number;
  /** The end of the last record that was replayed. */
  readonly lsn: Lsn;
  /** The new timeline that the server is on. */
  readonly timeline: number;
  /** When the last transaction that was replayed committed, as `2026-05-01 01:00:00.123456+00`; null when there was none. */
  readonly lastCommit: string | null;
}

const connectTimeoutMs = 10_000;

/**
 * Starts the server over a data folder that finishPhysicalTarget has finished, and waits until it has recovered and is promoted. Nothing
 * of it is left when this throws, as of startServer.
 * Codes: postgresql_target_uncovered, postgresql_wal_missing, postgresql_recovery_failed, disk_full, configuration_invalid; the signal's reason.
 */
export async function startRecoveryServer(options: RecoveryServerOptions): Promise<RecoveryServer> {
  const server = await startServer({ ...options, startTimeoutMs: options.recoveryTimeoutMs });
  try {
    return { ...server, recovered: await askWhatWasRecovered(server.connection, server.startedAtMs, options.leastLsn) };
  } catch (error) {
    await server.stop();
    options.signal.throwIfAborted();
    throw error;
  }
}

async function askWhatWasRecovered(
  connection: { readonly host: string; readonly port: number; readonly user: string },
  startedAtMs: number,
  leastLsn: Lsn | undefined,
): Promise<Recovered> {
  const client = new pg.Client({ ...connection, database: 'template1', connectionTimeoutMillis: connectTimeoutMs });
  // Its end is told by the query that fails.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ recovering: boolean; lsn: string | null; segment: string; last: string | null }>(
      `SELECT pg_is_in_recovery() AS recovering, pg_last_wal_replay_lsn() AS lsn, pg_walfile_name(pg_current_wal_lsn()) AS segment,
        to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') AS last`,
    );
    const [row] = rows;
    if (row === undefined || row.recovering || row.lsn === null) {
      throw new HoldfastError('postgresql_recovery_failed', 'the server runs and did not recover from WAL', {
        hint: 'the data folder was not finished for a recovery, or was started before',
      });
    }
    const lsn = parseLsn(row.lsn);
    if (leastLsn !== undefined && lsn < leastLsn) {
      throw new HoldfastError(
        'postgresql_wal_missing',
        `WAL was replayed to ${formatLsn(lsn)}, and is known to go on to ${formatLsn(leastLsn)}`,
      );
    }
    const durationMs = performance.now() - startedAtMs;
    return { durationMs, lsn, timeline: Number.parseInt(row.segment.slice(0, 8), 16), lastCommit: row.last };
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    const said = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('postgresql_recovery_failed', `the recovered server cannot be asked: ${said}`, {
      hint: `name the role that owns the cluster, when it is not ${connection.user}`,
      cause: error,
    });
  } finally {
    await client.end();
  }
}
