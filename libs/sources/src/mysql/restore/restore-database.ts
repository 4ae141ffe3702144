import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { findClientPrograms, type ProgramPlaces } from '../client-programs.ts';
import { mysqlPlace, type MysqlConnectionOptions } from '../connection-options.ts';
import type { DatabaseManifest } from '../manifest.ts';
import { quoteName, quoteText, runStatements, type StatementPlace } from '../statements.ts';
import { loadScript } from './load-script.ts';
import { chosenDatabase, readManifest, type PartFiles } from './part-files.ts';
import { createDatabaseSql, ScratchDatabase } from './scratch-database.ts';

export interface RestoreOptions {
  readonly files: PartFiles;
  readonly connection: MysqlConnectionOptions;
  /** Which database of the backup; needed when it has several. */
  readonly sourceDatabase?: string | undefined;
  /** The one that is filled. */
  readonly database: string;
  /** Of the recovery, the same in each of its attempts: letters, digits and underscores. */
  readonly id: string;
  readonly programPlaces: ProgramPlaces;
  /** As of a part. */
  readonly scratch?: string | undefined;
  /**
   * Hears what it has come to when all is there, before that is forgotten by which another attempt of the recovery would know it for its own
   * work. An attempt that finds this told calls forgetRestore and nothing else.
   */
  readonly onRestored?: ((restored: RestoredMysql) => Promise<void>) | undefined;
  readonly onProgress: (value: { readonly filesDone: number; readonly filesTotal: number; readonly bytesDone: number }) => void;
  readonly signal: AbortSignal;
}

export interface RestoredMysql {
  readonly tableCount: number;
  readonly bytes: number;
  /** What could not be made, with its reason; all tables are there. */
  readonly failed: readonly { readonly what: string; readonly code: ErrorCode; readonly reason: string }[];
  readonly warnings: readonly string[];
}

/**
 * Recovers one database: tables, then triggers, events and programs, then views. Into a new or an empty one, which is as before when it
 * throws; or with `overwrite` in place of one that holds something, which is dropped only when all tables of the backup are whole beside
 * it. Codes: target_not_empty, mysql_*, repository_damaged, path_not_found.
 */
export async function restoreMysqlDatabase(options: RestoreOptions & { readonly overwrite: boolean }): Promise<RestoredMysql> {
  const { files, connection, database, overwrite, signal, id } = options;
  const source = chosenDatabase(await readManifest(files), options.sourceDatabase);
  const programs = await findClientPrograms(options.programPlaces);
  const place: StatementPlace = { programs, connection, scratch: options.scratch, signal };
  const scratch = new ScratchDatabase(place, id);
  let target = await inspectTarget(place, database);
  if (await scratch.wasFilling()) {
    // What it holds is a former attempt's, that was killed.
    await runStatements(place, dropSql(database));
    target = { exists: false, isEmpty: true };
  }
  if (!target.isEmpty && !overwrite) {
    await scratch.drop();
    throw new HoldfastError('target_not_empty', `the database ${database} at ${mysqlPlace(connection)} is not empty`, {
      hint: 'choose a new database, or allow overwriting, which puts the backup in its place',
    });
  }
  await scratch.make(source);
  const progress = new Progress(source, options.onProgress);
  const loading = { place, files, source, progress };
  if (target.isEmpty) await fillTarget(loading, { database, scratch, existed: target.exists });
  else await replaceTarget(loading, { database, scratch });
  // A failure here keeps the note, by which another attempt knows what it may make anew.
  const failed = await makePrograms(loading, database);
  const restored = { tableCount: source.tables.length, bytes: progress.bytesDone, failed, warnings: sequenceWarnings(source, database) };
  await options.onRestored?.(restored);
  await scratch.drop();
  return restored;
}

/** Takes away what a former attempt has left beside a target that was whole by then. Codes: mysql_*. */
export async function forgetRestore(
  options: Pick<RestoreOptions, 'connection' | 'id' | 'programPlaces' | 'scratch' | 'signal'>,
): Promise<void> {
  const { connection, id, programPlaces, scratch, signal } = options;
  const programs = await findClientPrograms(programPlaces);
  await new ScratchDatabase({ programs, connection, scratch, signal }, id).drop();
}

interface Loading {
  readonly place: StatementPlace;
  readonly files: PartFiles;
  readonly source: DatabaseManifest;
  readonly progress: Progress;
}

async function fillTarget(
  loading: Loading,
  { database, scratch, existed }: { database: string; scratch: ScratchDatabase; existed: boolean },
): Promise<void> {
  const { place, source } = loading;
  await scratch.noteFilling();
  const made = createDatabaseSql(database, source);
  await runStatements(place, existed ? `${dropSql(database)}; ${made}` : made);
  try {
    await loadTables(loading, database);
  } catch (error) {
    // Whatever ended it, a signal too, the database is to be as before.
    await afterFailure(error, async () => {
      await runStatements(cleaning(place), existed ? `${dropSql(database)}; ${made}` : dropSql(database));
      await scratch.at(cleaning(place)).drop();
    });
  }
}

async function replaceTarget(loading: Loading, { database, scratch }: { database: string; scratch: ScratchDatabase }): Promise<void> {
  const { place, source } = loading;
  try {
    await loadTables(loading, scratch.name);
  } catch (error) {
    await afterFailure(error, () => scratch.at(cleaning(place)).drop());
  }
  await scratch.noteFilling();
  const moves = source.tables.map(
    ({ name }) => `${quoteName(scratch.name)}.${quoteName(name)} TO ${quoteName(database)}.${quoteName(name)}`,
  );
  const steps = [dropSql(database), createDatabaseSql(database, source), ...(moves.length > 0 ? [`RENAME TABLE ${moves.join(', ')}`] : [])];
  await runStatements(place, steps.join(';\n'));
}

/** What is tidied is tidied though the recovery was cancelled; a server that is gone keeps it for the next attempt, which tidies first. */
async function afterFailure(error: unknown, tidy: () => Promise<void>): Promise<never> {
  try {
    await tidy();
  } catch (second) {
    const left = second instanceof Error ? second.message : String(second);
    if (isHoldfastError(error)) {
      throw new HoldfastError(error.code, `${error.message}; and what was made so far could not be removed: ${left}`, {
        cause: error,
        hint: error.hint,
      });
    }
    throw new AggregateError([error, second], `${String(error)}; and what was made so far could not be removed: ${left}`, {
      cause: second,
    });
  }
  throw error;
}

/** Longer than dropping a database takes; a server that does not answer must not hold a cancelled recovery. */
const cleaningLimitMs = 30_000;

export function cleaning(place: StatementPlace): StatementPlace {
  return { ...place, signal: AbortSignal.timeout(cleaningLimitMs) };
}

async function loadTables({ place, files, source, progress }: Loading, database: string): Promise<void> {
  for (const { name, file } of source.tables) {
    const path = `/databases/${source.folder}/tables/${file}`;
    try {
      await loadScript({ place, files, path, database, onBytes: (bytes) => progress.addBytes(bytes) });
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      throw new HoldfastError(error.code, `the table ${name} could not be loaded: ${error.message}`, { cause: error, hint: error.hint });
    }
    progress.addFile();
  }
}

/** They may name accounts or need rights that are not there; the tables are whole without them. */
async function makePrograms({ place, files, source, progress }: Loading, database: string): Promise<RestoredMysql['failed']> {
  const failed: RestoredMysql['failed'][number][] = [];
  for (const name of ['programs', ...(source.views.length > 0 ? ['views'] : [])]) {
    const path = `/databases/${source.folder}/${name}.sql`;
    try {
      await loadScript({ place, files, path, database, onBytes: (bytes) => progress.addBytes(bytes) });
      progress.addFile();
    } catch (error) {
      place.signal.throwIfAborted();
      if (!isHoldfastError(error) || !error.code.startsWith('mysql_') || error.retry === 'later') throw error;
      failed.push({ what: `${name}.sql`, code: error.code, reason: error.message });
    }
  }
  return failed;
}

async function inspectTarget(place: StatementPlace, database: string): Promise<{ exists: boolean; isEmpty: boolean }> {
  const count = (table: string, column: string): string =>
    `(SELECT COUNT(*) FROM information_schema.${table} WHERE ${column} = ${quoteText(database)})`;
  const [row = []] = await runStatements(
    place,
    `SELECT ${count('SCHEMATA', 'SCHEMA_NAME')}, ${count('TABLES', 'TABLE_SCHEMA')} + ${count('ROUTINES', 'ROUTINE_SCHEMA')} + ${count('EVENTS', 'EVENT_SCHEMA')}`,
  );
  return { exists: row[0] === '1', isEmpty: row[1] === '0' };
}

function dropSql(database: string): string {
  return `SET foreign_key_checks = 0; DROP DATABASE IF EXISTS ${quoteName(database)}`;
}

/** The server writes the database of a sequence into the default that uses it. */
export function sequenceWarnings({ name, tables }: DatabaseManifest, database: string): string[] {
  if (name === database || !tables.some(({ kind }) => kind === 'sequence')) return [];
  return [`columns that take their values from a sequence still take them from the one in ${name}: ALTER TABLE gives them another`];
}

export class Progress {
  bytesDone = 0;
  #filesDone = 0;
  readonly #filesTotal: number;
  readonly #report: RestoreOptions['onProgress'];

  constructor(source: Pick<DatabaseManifest, 'tables' | 'views'>, report: RestoreOptions['onProgress']) {
    this.#filesTotal = source.tables.length + 1 + (source.views.length > 0 ? 1 : 0);
    this.#report = report;
  }

  addBytes(bytes: number): void {
    this.bytesDone += bytes;
    this.#tell();
  }

  addFile(): void {
    this.#filesDone++;
    this.#tell();
  }

  #tell(): void {
    this.#report({ filesDone: this.#filesDone, filesTotal: this.#filesTotal, bytesDone: this.bytesDone });
  }
}
