import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../../connection-options.ts';
import { findClientTools, type ClientTools } from '../client-tools.ts';
import { dumpArguments } from '../dump-arguments.ts';
import type { DatabaseManifest, TableManifest } from '../manifest.ts';
import { displayName, quoteIdentifier, quoteLiteral, quoteName, type QualifiedName } from '../quote.ts';
import { openSession, type Session } from '../session.ts';
import { runTool } from '../tool-process.ts';
import { chosenDatabase, folderOf, readManifest } from './backup-files.ts';
import { loadTables, type LoadedTables } from './load-tables.ts';
import { majorOf, type RestoreDatabaseOptions, type RestoredDatabase } from './restore-database.ts';
import { RestoreProgress } from './restore-progress.ts';
import { runScript } from './run-script.ts';
import { withRoleHint } from './target-database.ts';

export interface RestoreTablesOptions extends Omit<RestoreDatabaseOptions, 'globals' | 'ownOid' | 'onTarget'> {
  readonly schemas?: readonly string[] | undefined;
  /** `schema.table`; a partitioned table stands for its partitions. */
  readonly tables?: readonly string[] | undefined;
  /** `data` fills tables that are there, `schema_and_data` also makes those that are not. */
  readonly content: 'data' | 'schema_and_data';
  /** Of this recovery alone, whichever attempt: a database `holdfast_scratch_<id>` is what a former attempt left, and is dropped. */
  readonly id: string;
}

/**
 * Recovers chosen tables into a database that is there and in use. Tables with rows are refused, unless they may be overwritten: their
 * rows go in the transaction in which the others come. Definitions of missing tables come from a scratch database that is made beside it
 * and dropped in every case (the role needs CREATEDB for it). Sequences of the tables move forward, never back.
 * Codes: postgresql_not_found (a table that the backup, or for `data` the target, does not have), target_not_empty, postgresql_*.
 */
export async function restoreTables(options: RestoreTablesOptions): Promise<RestoredDatabase> {
  const { files, connection, database, signal, toolPlaces, content } = options;
  const source = chosenDatabase(await readManifest(files), options.sourceDatabase);
  const tables = chosenTables(source, options);
  const filled = { ...connection, database };
  await using session = await openSession(filled, signal);
  const missing = await missingIn(session, withAncestors(tables));
  if (missing.length > 0 && content === 'data') {
    throw new HoldfastError('postgresql_not_found', `${session.place} has no table ${missing.map(displayName).join(', ')}`, {
      hint: 'ask for schema_and_data, which makes the tables too, or make them first',
    });
  }
  const totals = { filesTotal: tables.length, bytesTotal: await bytesOf(options, source, tables) };
  const progress = new RestoreProgress(totals, options.onProgress);
  if (missing.length === 0) return { ...(await load(options, source, tables, progress, session)), bytes: progress.bytesDone, warnings: [] };

  const serverMajor = await majorOf(connection, signal);
  const tools = await findClientTools(serverMajor, toolPlaces);
  await using scratch = await makeScratch(options, source, { tools, serverMajor });
  const define = async (section: 'pre-data' | 'post-data'): Promise<void> => {
    const args = dumpArguments(tools, { section, tables: missing, lockTimeoutMs: 0 });
    const script = runTool({ tools, program: 'pg_dump', args, connection: scratch.connection, signal });
    await runScript({ tools, serverMajor, connection: filled, script, signal });
  };
  await define('pre-data');
  const loaded = await load(options, source, tables, progress, session);
  if (loaded.failed.length === 0) await define('post-data');
  return { ...loaded, bytes: progress.bytesDone, warnings: [] };
}

function namesOf(table: TableManifest): string[] {
  return [table, ...table.ancestors].map(displayName);
}

/** Code: postgresql_not_found. */
function chosenTables(source: DatabaseManifest, { schemas = [], tables = [] }: RestoreTablesOptions): readonly TableManifest[] {
  const named = new Set(tables);
  const chosen = source.tables.filter((table) => schemas.includes(table.schema) || namesOf(table).some((name) => named.has(name)));
  const found = new Set(chosen.flatMap((table) => [...namesOf(table), table.schema]));
  const missing = [...tables, ...schemas].filter((name) => !found.has(name));
  if (missing.length === 0) return chosen;
  throw new HoldfastError('postgresql_not_found', `the backup of ${source.name} has no table of ${missing.join(', ')}`);
}

function withAncestors(tables: readonly TableManifest[]): readonly QualifiedName[] {
  const all = tables.flatMap(({ schema, name, ancestors }) => [{ schema, name }, ...ancestors]);
  return [...new Map(all.map((table) => [quoteName(table), table])).values()];
}

async function missingIn(session: Session, tables: readonly QualifiedName[]): Promise<readonly QualifiedName[]> {
  const rows = await session.query('SELECT to_regclass(name) IS NULL FROM unnest($1::text[]) WITH ORDINALITY AS t (name, i) ORDER BY i', [
    tables.map(quoteName),
  ]);
  return tables.filter((_, index) => rows[index]?.[0] === 't');
}

async function bytesOf({ files }: RestoreTablesOptions, source: DatabaseManifest, tables: readonly TableManifest[]): Promise<number> {
  const sizes = new Map((await files.list(`${folderOf(source)}/data`)).map(({ name, sizeBytes }) => [name, sizeBytes]));
  return tables.reduce((sum, { file }) => sum + (sizes.get(file) ?? 0), 0);
}

async function load(
  options: RestoreTablesOptions,
  source: DatabaseManifest,
  tables: readonly TableManifest[],
  progress: RestoreProgress,
  session: Session,
): Promise<LoadedTables> {
  const { files, connection, connectionCount, lockTimeoutMs, overwrite, signal } = options;
  const common = {
    files,
    database: source,
    connection: { ...connection, database: options.database },
    connectionCount,
    lockTimeoutMs,
    signal,
  };
  const loaded = await loadTables({ ...common, tables, present: overwrite ? 'remove' : 'refuse', progress });
  const failed = new Set(loaded.failed.map(({ table }) => table));
  await forwardSequences(
    session,
    source,
    tables.filter((table) => !failed.has(displayName(table))),
  );
  return loaded;
}

/** Sequences that belong to columns of the tables: a new row must not get a number that came back with an old one. */
async function forwardSequences(session: Session, source: DatabaseManifest, tables: readonly TableManifest[]): Promise<void> {
  const rows = await session.query(
    `SELECT DISTINCT n.nspname, s.relname FROM pg_depend d
     JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
       AND d.refobjid = ANY ($1::regclass[])`,
    [withAncestors(tables).map(quoteName)],
    'listing the sequences of the tables',
  );
  for (const [schema, name] of rows) {
    const value = source.sequences.find((sequence) => sequence.schema === schema && sequence.name === name);
    if (value === undefined) continue;
    const { lastValue, isCalled } = value;
    await session.query(
      `SELECT pg_catalog.setval(${quoteLiteral(quoteName(value))}, ${lastValue}, ${isCalled}) FROM ${quoteName(value)}
       WHERE NOT is_called OR last_value < ${lastValue}`,
      [],
      `setting the sequence ${displayName(value)}`,
    );
  }
}

/** A database with the backup's schema and no rows, dropped at the end. */
async function makeScratch(
  { files, connection, id, signal }: RestoreTablesOptions,
  source: DatabaseManifest,
  client: { readonly tools: ClientTools; readonly serverMajor: number },
): Promise<AsyncDisposable & { readonly connection: ConnectionOptions }> {
  const name = `holdfast_scratch_${id}`;
  const scratch = { ...connection, database: name };
  const administer = async (sql: string, action: string): Promise<void> => {
    // Also after an abort: nothing of it stays.
    await using session = await openSession(connection);
    await session.query(sql, [], action);
  };
  const drop = (): Promise<void> =>
    administer(`DROP DATABASE IF EXISTS ${quoteIdentifier(name)} WITH (FORCE)`, 'dropping the scratch database');
  await drop();
  await administer(`CREATE DATABASE ${quoteIdentifier(name)} ${source.createOptions}`, 'making a scratch database for definitions');
  try {
    for (const section of ['pre-data', 'post-data']) {
      await runScript({ ...client, connection: scratch, script: files.read(`${folderOf(source)}/${section}.sql`), signal });
    }
  } catch (error) {
    await drop();
    throw withRoleHint(error);
  }
  return { connection: scratch, [Symbol.asyncDispose]: drop };
}
