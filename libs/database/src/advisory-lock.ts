import { translateDatabaseError } from './database-error.ts';
import type { Database } from './open-database.ts';

/**
 * Locks of whole jobs that one process at a time does, by name. Any numbers, but never used twice; 72707369 is the one under
 * which migrations are applied and 72707370 the one under which events are numbered.
 */
export const advisoryLocks = {
  migrate: 72_707_369,
  numberEvents: 72_707_370,
  reconcile: 72_707_371,
  probeStorages: 72_707_372,
  placeRepository: 72_707_373,
  watchSlots: 72_707_374,
  watchWaiting: 72_707_380,
  /** With the hash of a repository's id: copies are written into it. */
  writeCopies: 72_707_375,
  /** With the hash of a backup job's id: the application that it has frozen is thawed. */
  thawApplication: 72_707_376,
} as const;

/**
 * Does `action` while holding a lock, or gives null at once when another process holds it. The lock lives on a connection of
 * the pool, so it ends with the process; `action` does not own that connection. `signal` is aborted when the connection, and
 * with it the lock, is lost. Code: database_unreachable.
 */
export async function withAdvisoryLock<T>(
  db: Database,
  lock: keyof typeof advisoryLocks,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T | null> {
  const lost = new AbortController();
  const client = await db.pool.connect().catch((error: unknown) => {
    throw translateDatabaseError(error);
  });
  const onError = (error: Error): void => lost.abort(translateDatabaseError(error));
  client.on('error', onError);
  try {
    const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [advisoryLocks[lock]]);
    if (rows[0]?.locked !== true) return null;
    try {
      return await action(lost.signal);
    } finally {
      if (!lost.signal.aborted) await client.query('SELECT pg_advisory_unlock($1)', [advisoryLocks[lock]]);
    }
  } catch (error) {
    throw translateDatabaseError(error);
  } finally {
    client.off('error', onError);
    // A broken connection is not given back.
    client.release(lost.signal.aborted);
  }
}
