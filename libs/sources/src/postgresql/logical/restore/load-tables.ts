import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../../connection-options.ts';
import type { DatabaseManifest, TableManifest } from '../manifest.ts';
import { displayName } from '../quote.ts';
import { SessionPool } from '../session-pool.ts';
import { recoverySettings } from '../session-settings.ts';
import { openSession } from '../session.ts';
import type { BackupFiles } from './backup-files.ts';
import { loadTable } from './load-table.ts';
import type { RestoreProgress } from './restore-progress.ts';

export interface LoadTablesOptions {
  readonly files: BackupFiles;
  readonly database: DatabaseManifest;
  readonly tables: readonly TableManifest[];
  /** To the database that is filled. */
  readonly connection: ConnectionOptions;
  readonly connectionCount: number;
  readonly lockTimeoutMs: number;
  readonly present: 'refuse' | 'remove';
  readonly progress: RestoreProgress;
  readonly signal: AbortSignal;
}

/** A table that could not be filled; the others are. */
export interface FailedTable {
  readonly table: string;
  readonly code: string;
  readonly reason: string;
}

export interface LoadedTables {
  readonly tableCount: number;
  /** As the server counts them. */
  readonly rowCount: number;
  readonly failed: readonly FailedTable[];
}

/**
 * Fills tables on several connections, each in a transaction of its own; what fails is listed and the others go on. Throws the signal's
 * reason, and errors that say that the server is gone: then all that is left would fail alike.
 */
export async function loadTables(options: LoadTablesOptions): Promise<LoadedTables> {
  const { database, tables, connection, connectionCount, lockTimeoutMs, present, files, progress, signal } = options;
  const settings = recoverySettings({ lockTimeoutMs }, database.transferEncoding);
  await using pool = new SessionPool(connectionCount, async () => {
    const session = await openSession(connection, signal);
    await session.query(settings).catch(async (error: unknown) => {
      await session.close();
      throw error;
    });
    return session;
  });
  const endAll = (): void => pool.destroy();
  signal.addEventListener('abort', endAll, { once: true });
  const failed: FailedTable[] = [];
  let rowCount = 0;
  let tableCount = 0;
  // The largest first: the last one running alone should be a short one.
  const waiting = tables.toSorted((a, b) => a.rows - b.rows);
  const work = async (): Promise<void> => {
    for (let table = waiting.pop(); table !== undefined; table = waiting.pop()) {
      signal.throwIfAborted();
      const session = await pool.acquire();
      try {
        const kept = table.isPartial ? 'keep' : present;
        const rows = await loadTable(session, { files, database, table, present: kept, onBytes: (bytes) => progress.addBytes(bytes) });
        rowCount += rows;
        tableCount++;
      } catch (error) {
        signal.throwIfAborted();
        const { code, message, retry } = asHoldfastError(error);
        if (retry === 'later' && code !== 'postgresql_busy') {
          waiting.length = 0;
          throw error;
        }
        failed.push({ table: displayName(table), code, reason: message });
      } finally {
        pool.release(session);
        progress.addFile();
      }
    }
  };
  try {
    const results = await Promise.allSettled(Array.from({ length: Math.min(connectionCount, Math.max(1, tables.length)) }, () => work()));
    const rejected = results.find((result) => result.status === 'rejected');
    if (rejected !== undefined) throw rejected.reason;
  } finally {
    signal.removeEventListener('abort', endAll);
  }
  return { tableCount, rowCount, failed };
}
