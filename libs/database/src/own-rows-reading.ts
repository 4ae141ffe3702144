import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import { connectionConfig } from './connection-config.ts';
import { translateDatabaseError } from './database-error.ts';
import { ownSchema, quoted, tablesLeftOut, type OwnDatabaseFacts, type OwnMigration, type OwnTable } from './own-rows.ts';

/** The whole of Holdfast's own database at one moment, while it is read. */
export interface OwnRowsReading extends AsyncDisposable {
  readonly facts: OwnDatabaseFacts;
  /** When its moment was. */
  readonly takenAt: Date;
  /** The rows of a table as lines of JSON, in the order of its primary key. Codes: database_unreachable. */
  rows(table: string): AsyncGenerator<Uint8Array, void, undefined>;
  /** Ends the connection and with it the moment. May be called twice. */
  close(): Promise<void>;
}

/** Rows of one answer: with what a run notes in its row, some MB at the most. */
const rowsPerFetch = 200;

/**
 * Takes the moment: one transaction of one connection, repeatable read and read only, which keeps nobody waiting. It is held, however slow
 * the storage is, until it is closed or `signal` aborts. Codes: database_unreachable, database_schema_mismatch (there are no migrations).
 */
export async function openOwnRowsReading(url: string, signal?: AbortSignal): Promise<OwnRowsReading> {
  const client = new pg.Client(connectionConfig(url, 'holdfast own database'));
  // A lost connection is told by the query that it breaks.
  client.on('error', () => undefined);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort);
    return (closing ??= client.end());
  };
  const onAbort = (): void => void close();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    await client.connect();
    await client.query('SET idle_in_transaction_session_timeout = 0');
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const facts = await readFacts(client);
    const { rows } = await client.query<{ now: Date }>('SELECT now() AS "now"');
    const takenAt = rows[0]?.now ?? new Date();
    const queries = inTurn(client);
    return { facts, takenAt, rows: (table) => readRows(queries, facts, table, signal), close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    throw translateDatabaseError(error);
  }
}

/** Whoever reads opens several tables at once; a connection takes one query after the other. */
interface Queries {
  query<T extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<pg.QueryResult<T>>;
}

function inTurn(client: pg.Client): Queries {
  let last: Promise<unknown> = Promise.resolve();
  return {
    async query<T extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
      const mine = last.then(() => client.query<T>(text, [...values]));
      // What went wrong is told to who asked; the next one has its turn all the same.
      last = mine.catch(() => undefined);
      return await mine;
    },
  };
}

async function readFacts(client: pg.Client): Promise<OwnDatabaseFacts> {
  const migrations = await readMigrationRecord(client);
  const { rows } = await client.query<{ name: string; columns: string[] }>(
    `SELECT c.relname AS "name", array_agg(a.attname::text ORDER BY a.attnum) AS "columns"
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> ALL ($2::text[])
     GROUP BY c.relname ORDER BY c.relname`,
    [ownSchema, tablesLeftOut],
  );
  const tables: OwnTable[] = [];
  for (const { name, columns } of rows) {
    const counted = await client.query<{ count: string }>(`SELECT count(*) AS "count" FROM ${tableName(name)}`);
    tables.push({ name, columns, rowCount: Number(counted.rows[0]?.count ?? 0) });
  }
  const version = await client.query<{ server_version: string }>('SHOW server_version');
  return { migrations, tables, serverVersion: version.rows[0]?.server_version ?? '' };
}

async function readMigrationRecord(client: pg.Client): Promise<OwnMigration[]> {
  const { rows: there } = await client.query<{ there: boolean }>(`SELECT to_regclass('"_prisma_migrations"') IS NOT NULL AS "there"`);
  const { rows } =
    there[0]?.there === true
      ? await client.query<OwnMigration>(
          `SELECT "migration_name" AS "name", "checksum" FROM "_prisma_migrations"
           WHERE "rolled_back_at" IS NULL AND "finished_at" IS NOT NULL ORDER BY "migration_name"`,
        )
      : { rows: [] };
  if (rows.length > 0) return rows;
  throw new HoldfastError('database_schema_mismatch', 'the database has no migrations of ours: there is nothing to back up');
}

async function* readRows(
  client: Queries,
  { tables }: OwnDatabaseFacts,
  table: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!tables.some(({ name }) => name === table)) throw new HoldfastError('internal', `there is no table ${table} in the backup`);
  const cursor = quoted(`rows_of_${table}`);
  try {
    const order = await primaryKeyOf(client, table);
    const orderBy = order.length === 0 ? '' : ` ORDER BY ${order.map((column) => `t.${quoted(column)}`).join(', ')}`;
    await client.query(`DECLARE ${cursor} NO SCROLL CURSOR FOR SELECT row_to_json(t)::text AS "line" FROM ${tableName(table)} t${orderBy}`);
    for (;;) {
      signal?.throwIfAborted();
      const { rows } = await client.query<{ line: string }>(`FETCH FORWARD ${rowsPerFetch} FROM ${cursor}`);
      if (rows.length === 0) break;
      yield Buffer.from(`${rows.map(({ line }) => line).join('\n')}\n`);
    }
    await client.query(`CLOSE ${cursor}`);
  } catch (error) {
    signal?.throwIfAborted();
    throw translateDatabaseError(error);
  }
}

async function primaryKeyOf(client: Queries, table: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT a.attname::text AS "name" FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, nth)
       JOIN pg_attribute a ON a.attnum = k.attnum
     WHERE i.indrelid = $1::regclass AND a.attrelid = i.indrelid AND i.indisprimary ORDER BY k.nth`,
    [tableName(table)],
  );
  return rows.map(({ name }) => name);
}

function tableName(table: string): string {
  return `${quoted(ownSchema)}.${quoted(table)}`;
}
