import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import { advisoryLocks } from './advisory-lock.ts';
import { connectionConfig } from './connection-config.ts';
import { translateDatabaseError } from './database-error.ts';
import { migrate, pendingMigrations, readMigrations } from './migrate.ts';
import { orderByReference } from './own-rows-order.ts';
import { ownSchema, quoted, type OwnDatabaseFacts, type OwnTable } from './own-rows.ts';

export interface OwnRowsLoading {
  readonly facts: OwnDatabaseFacts;
  /** The lines of a table, in pieces of any size. */
  rows(table: string): AsyncIterable<Uint8Array>;
  /** Noted with the rows, by which a later attempt of the same rescue knows them for its own. */
  readonly rescue: { readonly id: string; readonly snapshotId: string; readonly repositoryId: string };
  readonly onTable?: (table: OwnTable, nth: number) => void;
  readonly signal?: AbortSignal;
}

/** Rows of one statement: some MB at the most, and a statement's fixed cost is paid rarely. */
const rowsPerInsert = 500;
const bytesPerInsert = 4 * 1024 * 1024;

/** What the log says of a rescue; its data name the snapshot. */
const rescuedEvent = 'service.rescued';

/**
 * Fills an empty database with the rows of a backup: tables as the backup's version had them, then all rows in one transaction, then what
 * this version has changed since. A database that holds rows is refused, unless they are those of the same rescue, which is then as good as
 * done. Killed anywhere it may be called again. Codes: conflict (the database is not empty), database_schema_mismatch (the backup is of a
 * newer version), repository_damaged (rows are missing or unreadable), database_unreachable.
 */
export async function loadOwnRows(url: string, loading: OwnRowsLoading): Promise<void> {
  const { facts } = loading;
  const ours = await readMigrations();
  pendingMigrations(
    ours,
    facts.migrations.map((migration) => ({ ...migration, isFinished: true })),
  );
  if (!(await isFilledBy(url, loading))) {
    await migrate(url, { only: new Set(facts.migrations.map(({ name }) => name)) });
    await fill(url, loading);
  }
  await migrate(url);
}

/** False for an empty database. Code: conflict for one with anything else in it. */
async function isFilledBy(url: string, { rescue }: OwnRowsLoading): Promise<boolean> {
  return await withClient(url, async (client) => {
    const filled: string[] = [];
    for (const name of await tablesIn(client)) if (name !== '_prisma_migrations' && (await hasRows(client, name))) filled.push(name);
    if (filled.length === 0) return false;
    if (filled.includes('events') && (await isRescued(client, rescue.id))) return true;
    throw new HoldfastError('conflict', `the database is not empty: there are rows in ${filled.join(', ')}`, {
      hint: 'a rescue fills an empty database only: name another one, or make a new one',
    });
  });
}

async function fill(url: string, loading: OwnRowsLoading): Promise<void> {
  const { facts, rescue, signal } = loading;
  await withClient(url, async (client) => {
    await client.query('BEGIN');
    // However slow the storage is from which the rows come.
    await client.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    await client.query('SELECT pg_advisory_xact_lock($1)', [advisoryLocks.migrate]);
    for (const [nth, table] of (await inOrder(client, facts.tables)).entries()) {
      signal?.throwIfAborted();
      loading.onTable?.(table, nth);
      if (await hasRows(client, table.name)) throw new HoldfastError('conflict', `somebody else fills the table ${table.name}`);
      await fillTable(client, table, loading);
      await continueNumbers(client, table);
    }
    await client.query(
      `INSERT INTO "events" ("type", "subjectKind", "subjectId", "data", "createdAt") VALUES ($1, 'service', 'service', $2, clock_timestamp())`,
      [rescuedEvent, JSON.stringify(rescue)],
    );
    await client.query('COMMIT');
  });
}

async function inOrder(client: pg.Client, tables: readonly OwnTable[]): Promise<OwnTable[]> {
  const { rows } = await client.query<{ from: string; to: string }>(
    `SELECT c.conrelid::regclass::text AS "from", c.confrelid::regclass::text AS "to" FROM pg_constraint c
     JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.contype = 'f' AND n.nspname = $1`,
    [ownSchema],
  );
  const byName = new Map(tables.map((table) => [table.name, table]));
  return orderByReference([...byName.keys()], rows).flatMap((name) => byName.get(name) ?? []);
}

async function fillTable(client: pg.Client, table: OwnTable, loading: OwnRowsLoading): Promise<void> {
  const columns = table.columns.map(quoted).join(', ');
  const target = `${quoted(ownSchema)}.${quoted(table.name)}`;
  const statement = `INSERT INTO ${target} (${columns}) SELECT ${columns} FROM json_populate_recordset(NULL::${target}, $1::json)`;
  const { signal } = loading;
  let count = 0;
  let batch: string[] = [];
  let batchBytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    signal?.throwIfAborted();
    await client.query(statement, [`[${batch.join(',')}]`]).catch((error: unknown) => {
      throw unreadable(table.name, translateDatabaseError(error));
    });
    count += batch.length;
    batch = [];
    batchBytes = 0;
  };
  for await (const line of linesOf(loading.rows(table.name))) {
    batch.push(line);
    batchBytes += line.length;
    if (batch.length >= rowsPerInsert || batchBytes >= bytesPerInsert) await flush();
  }
  await flush();
  if (count === table.rowCount) return;
  throw new HoldfastError('repository_damaged', `the backup says ${table.rowCount} rows of ${table.name} and has ${count}`);
}

function unreadable(table: string, error: unknown): unknown {
  if (error instanceof HoldfastError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new HoldfastError('repository_damaged', `rows of ${table} cannot be put back: ${reason}`, { cause: error });
}

/** Columns that number themselves go on after the largest number that is there. */
async function continueNumbers(client: pg.Client, { name, columns }: OwnTable): Promise<void> {
  const target = `${quoted(ownSchema)}.${quoted(name)}`;
  for (const column of columns) {
    const { rows } = await client.query<{ sequence: string | null }>('SELECT pg_get_serial_sequence($1, $2) AS "sequence"', [
      target,
      column,
    ]);
    const sequence = rows[0]?.sequence ?? null;
    if (sequence === null) continue;
    await client.query(`SELECT setval($1::regclass, max(${quoted(column)})) FROM ${target} HAVING max(${quoted(column)}) IS NOT NULL`, [
      sequence,
    ]);
  }
}

async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== '') throw new HoldfastError('repository_damaged', 'the last row of a table is cut off');
}

async function isRescued(client: pg.Client, id: string): Promise<boolean> {
  const { rowCount } = await client.query(`SELECT 1 FROM "events" WHERE "type" = $1 AND "data" ->> 'id' = $2 LIMIT 1`, [rescuedEvent, id]);
  return (rowCount ?? 0) > 0;
}

async function tablesIn(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.relname AS "name" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f')`,
    [ownSchema],
  );
  return rows.map(({ name }) => name);
}

async function hasRows(client: pg.Client, table: string): Promise<boolean> {
  const { rowCount } = await client.query(`SELECT 1 FROM ${quoted(ownSchema)}.${quoted(table)} LIMIT 1`);
  return (rowCount ?? 0) > 0;
}

/** What a failure has begun the server rolls back when the connection ends. */
async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connectionConfig(url, 'holdfast rescue'));
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw translateDatabaseError(error);
  } finally {
    await client.end();
  }
}
