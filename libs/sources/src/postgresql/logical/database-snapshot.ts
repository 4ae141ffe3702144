import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../connection-options.ts';
import { listTables, type DatabaseFacts, type TableChoice, type TableList } from './catalog.ts';
import { quoteLiteral, quoteName } from './quote.ts';
import { SessionPool } from './session-pool.ts';
import { backupSettings, transferEncoding, type SessionSettings } from './session-settings.ts';
import { openSession, type Session } from './session.ts';

export interface SnapshotOptions {
  /** To this very database. */
  readonly connection: ConnectionOptions;
  readonly facts: DatabaseFacts;
  readonly choice: TableChoice;
  readonly settings: SessionSettings;
  readonly connectionCount: number;
  readonly signal: AbortSignal;
}

/**
 * One moment of one database, for any number of connections and for pg_dump: a leader holds the transaction whose snapshot it has
 * exported, and a lock on each table that keeps it from being dropped or altered, not from being written to.
 */
export interface DatabaseSnapshot extends AsyncDisposable {
  readonly leader: Session;
  /** The name for SET TRANSACTION SNAPSHOT and pg_dump. */
  readonly id: string;
  readonly lsn: string;
  readonly takenAt: string;
  readonly list: TableList;
  /** Sessions in the snapshot. */
  readonly pool: SessionPool;
}

/** Tables that come or go between the list and the locks: it is tried again. */
const maxTries = 4;
/** One statement locks so many. */
const tablesPerLock = 500;

/**
 * Codes: postgresql_changed (tables kept coming and going), postgresql_busy (a lock was not had in time), postgresql_denied, those of
 * openSession. Nothing is left open when it throws.
 */
export async function openDatabaseSnapshot(options: SnapshotOptions): Promise<DatabaseSnapshot> {
  const { connection, signal, facts, settings, connectionCount } = options;
  await using opened = new AsyncDisposableStack();
  const leader = opened.use(await openSession(connection, signal));
  const endLeader = (): void => leader.destroy();
  signal.addEventListener('abort', endLeader, { once: true });
  opened.defer(() => signal.removeEventListener('abort', endLeader));
  const sql = backupSettings(settings, transferEncoding(facts.encoding));
  await leader.query(sql);
  const list = await lockTables(leader, options);
  const [row] = await leader.query(
    `SELECT pg_export_snapshot(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, to_json(now())#>>'{}'`,
    [],
    'exporting the snapshot',
  );
  const id = row?.[0] ?? '';
  const pool = opened.use(
    new SessionPool(connectionCount, async () => {
      const session = await openSession(connection, signal);
      try {
        await session.query(`${sql}\nBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ${quoteLiteral(id)};`);
        return session;
      } catch (error) {
        await session.close();
        throw error;
      }
    }),
  );
  const endAll = (): void => pool.destroy();
  signal.addEventListener('abort', endAll, { once: true });
  pool.openAhead(Math.min(connectionCount, list.tables.length));
  opened.defer(() => signal.removeEventListener('abort', endAll));
  const stack = opened.move();
  return {
    leader,
    id,
    lsn: row?.[1] ?? '',
    takenAt: row?.[2] ?? '',
    list,
    pool,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The snapshot is taken by the first query after the locks, so what is locked is what it shows; a list that differs was too old. */
async function lockTables(leader: Session, { choice, signal }: SnapshotOptions): Promise<TableList> {
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted();
    const wanted = await listTables(leader, choice);
    await leader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    try {
      for (let at = 0; at < wanted.locked.length; at += tablesPerLock) {
        const names = wanted.locked.slice(at, at + tablesPerLock).map((table) => `ONLY ${quoteName(table)}`);
        await leader.query(`LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`, [], 'locking the tables');
      }
      const seen = await listTables(leader, choice);
      if (identityOf(seen) === identityOf(wanted)) return seen;
    } catch (error) {
      if (!isHoldfastError(error, 'postgresql_changed')) throw error;
    }
    await leader.query('ROLLBACK');
    if (tries === maxTries)
      throw new HoldfastError('postgresql_changed', `the tables at ${leader.place} changed ${maxTries} times while they were being locked`);
  }
}

function identityOf({ locked }: TableList): string {
  return locked.map(({ oid, schema, name }) => JSON.stringify([oid, schema, name])).join('\n');
}
