import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { findClientPrograms } from '../client-programs.ts';
import { mysqlPlace } from '../connection-options.ts';
import { quoteName, quoteText, runStatements, type StatementPlace } from '../statements.ts';
import { loadScript } from './load-script.ts';
import { chosenDatabase, readManifest } from './part-files.ts';
import { cleaning, Progress, sequenceWarnings, type RestoredMysql, type RestoreOptions } from './restore-database.ts';
import { ScratchDatabase } from './scratch-database.ts';

export interface RestoreTableOptions extends RestoreOptions {
  readonly table: string;
  /** Another name for it; then it comes without its foreign keys, whose names are taken. */
  readonly as?: string | undefined;
}

/**
 * Recovers one table into a database that is in use, by a single rename when it is whole. A table of that name is never replaced. Without
 * its triggers, which are in programs.sql. When it throws, the database is as it was. Codes: target_not_empty (there is a table of that
 * name), mysql_*, repository_damaged, path_not_found.
 */
export async function restoreMysqlTable(options: RestoreTableOptions): Promise<RestoredMysql> {
  const { files, connection, database, table, as = table, signal, id } = options;
  const source = chosenDatabase(await readManifest(files), options.sourceDatabase);
  const facts = source.tables.find(({ name }) => name === table);
  if (facts === undefined) {
    throw new HoldfastError('mysql_not_found', `the database ${source.name} of the backup has no table ${table}`, {
      hint: 'check the name; manifest.json lists all of them',
    });
  }
  const programs = await findClientPrograms(options.programPlaces);
  const place: StatementPlace = { programs, connection, scratch: options.scratch, signal };
  const scratch = new ScratchDatabase(place, id);
  const [from, to] = [`${quoteName(scratch.name)}.${quoteName(table)}`, `${quoteName(database)}.${quoteName(as)}`];
  // Renamed by a former attempt, that was killed then: nobody else's.
  if ((await scratch.wasFilling()) && !(await scratch.holds(table)))
    await runStatements(place, `SET foreign_key_checks = 0; DROP TABLE IF EXISTS ${to}`);
  if (await isThere(place, database, as)) {
    await scratch.drop();
    throw new HoldfastError('target_not_empty', `${database} at ${mysqlPlace(connection)} has a table ${as}, which is not replaced`, {
      hint: 'give another name as `as`, and put the one in the place of the other when you have looked at both',
    });
  }
  await scratch.make(source);
  const progress = new Progress({ tables: [facts], views: [] }, options.onProgress);
  const path = `/databases/${source.folder}/tables/${facts.file}`;
  try {
    await loadScript({ place, files, path, database: scratch.name, onBytes: (bytes) => progress.addBytes(bytes) });
    const keys = await foreignKeys(place, scratch.name, table);
    // They name the scratch database as that of the other table.
    const drops = keys.map(({ name }) => `ALTER TABLE ${from} DROP FOREIGN KEY ${quoteName(name)};`);
    await scratch.noteFilling();
    await runStatements(place, `SET foreign_key_checks = 0; ${drops.join(' ')} RENAME TABLE ${from} TO ${to};`);
    progress.addFile();
    const warnings = as === table ? await makeForeignKeys(place, to, keys) : keys.map(({ name }) => `the foreign key ${name} was left out`);
    const sequences = sequenceWarnings(source, database);
    const restored = { tableCount: 1, bytes: progress.bytesDone, failed: [], warnings: [...warnings, ...sequences] };
    await options.onRestored?.(restored);
    return restored;
  } finally {
    await scratch.at(cleaning(place)).drop();
  }
}

const keySchema = z.object({
  name: z.string(),
  columns: z.array(z.string()),
  otherTable: z.string(),
  otherColumns: z.array(z.string()),
  onUpdate: z.enum(['RESTRICT', 'CASCADE', 'SET NULL', 'NO ACTION', 'SET DEFAULT']),
  onDelete: z.enum(['RESTRICT', 'CASCADE', 'SET NULL', 'NO ACTION', 'SET DEFAULT']),
});
type ForeignKey = z.infer<typeof keySchema>;

async function foreignKeys(place: StatementPlace, database: string, table: string): Promise<ForeignKey[]> {
  const rows = await runStatements(
    place,
    `SELECT JSON_OBJECT('name', k.CONSTRAINT_NAME, 'column', k.COLUMN_NAME, 'otherTable', k.REFERENCED_TABLE_NAME,
       'otherColumn', k.REFERENCED_COLUMN_NAME, 'onUpdate', r.UPDATE_RULE, 'onDelete', r.DELETE_RULE)
     FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.TABLE_SCHEMA = ${quoteText(database)} AND k.TABLE_NAME = ${quoteText(table)} AND k.REFERENCED_TABLE_NAME IS NOT NULL
     ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION`,
  );
  const rowSchema = keySchema.omit({ columns: true, otherColumns: true }).extend({ column: z.string(), otherColumn: z.string() });
  const keys = new Map<string, ForeignKey>();
  for (const [json = ''] of rows) {
    const { column, otherColumn, ...key } = rowSchema.parse(JSON.parse(json));
    const known = keys.get(key.name) ?? { ...key, columns: [], otherColumns: [] };
    keys.set(key.name, { ...known, columns: [...known.columns, column], otherColumns: [...known.otherColumns, otherColumn] });
  }
  return [...keys.values()];
}

function nameList(names: readonly string[]): string {
  return `(${names.map(quoteName).join(', ')})`;
}

/** Rows that name others which are not there leave the key out, and that is told. */
async function makeForeignKeys(place: StatementPlace, table: string, keys: readonly ForeignKey[]): Promise<string[]> {
  const warnings: string[] = [];
  for (const { name, columns, otherTable, otherColumns, onUpdate, onDelete } of keys) {
    const other = `REFERENCES ${quoteName(otherTable)} ${nameList(otherColumns)} ON UPDATE ${onUpdate} ON DELETE ${onDelete}`;
    try {
      await runStatements(place, `ALTER TABLE ${table} ADD CONSTRAINT ${quoteName(name)} FOREIGN KEY ${nameList(columns)} ${other}`);
    } catch (error) {
      place.signal.throwIfAborted();
      warnings.push(`the foreign key ${name} could not be made: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return warnings;
}

async function isThere(place: StatementPlace, database: string, table: string): Promise<boolean> {
  const rows = await runStatements(place, `SHOW TABLES FROM ${quoteName(database)}`);
  return rows.some(([name]) => name === table);
}
