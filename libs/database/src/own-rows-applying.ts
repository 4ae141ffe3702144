import { Prisma } from '../generated/client.ts';
import type { JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { ownRowTables, type OwnRow, type OwnRowTable } from './own-rows-of-entity.ts';

/** What stays as it is when a row is overwritten. */
const lastingColumns: ReadonlySet<string> = new Set(['id', 'businessEntityId', 'createdAt']);

/** The columns of a table that a backup of own rows may hold. */
export async function columnsOfOwnRows(tx: Transaction, table: OwnRowTable): Promise<ReadonlySet<string>> {
  const rows = await tx.$queryRaw<{ name: string }[]>`
    SELECT attname::text AS "name" FROM pg_attribute
    WHERE attrelid = ${`"${table}"`}::regclass AND attnum > 0 AND NOT attisdropped`;
  const leftOut: readonly string[] = ownRowTables[table];
  return new Set(rows.flatMap(({ name }) => (leftOut.includes(name) ? [] : [name])));
}

/** The entity of a row, whoever's it is; null when there is none. */
export async function entityOfOwnRow(tx: Transaction, { table, id }: Pick<OwnRow, 'table' | 'id'>): Promise<string | null> {
  const [row] = await tx.$queryRaw<{ entity: string }[]>`
    SELECT "businessEntityId" AS "entity" FROM ${nameOf(table)} WHERE "id" = ${id}`;
  return row?.entity ?? null;
}

/** Makes a row anew under its id. Its columns must be known, and what it refers to be there: see columnsOfOwnRows. */
export async function insertOwnRow(tx: Transaction, { table, row }: OwnRow): Promise<void> {
  const columns = Prisma.raw(Object.keys(row).map(quoted).join(', '));
  await tx.$executeRaw`
    INSERT INTO ${nameOf(table)} (${columns}, "updatedAt")
    SELECT ${columns}, clock_timestamp() FROM json_populate_record(NULL::${nameOf(table)}, ${JSON.stringify(row)}::json)`;
}

/** Makes a row what a backup says, but for its id, its entity and when it was made. */
export async function overwriteOwnRow(tx: Transaction, { table, id, row }: OwnRow): Promise<void> {
  const changed: JsonObject = Object.fromEntries(Object.entries(row).filter(([column]) => !lastingColumns.has(column)));
  const assignments = Prisma.raw(
    Object.keys(changed)
      .map((column) => `${quoted(column)} = given.${quoted(column)}`)
      .join(', '),
  );
  await tx.$executeRaw`
    UPDATE ${nameOf(table)} SET ${assignments}, "updatedAt" = clock_timestamp()
    FROM json_populate_record(NULL::${nameOf(table)}, ${JSON.stringify(changed)}::json) given WHERE ${nameOf(table)}."id" = ${id}`;
}

function nameOf(table: OwnRowTable): Prisma.Sql {
  return Prisma.raw(`"${table}"`);
}

/** Columns that were held against columnsOfOwnRows: none has a quote in it. */
function quoted(column: string): string {
  return `"${column.replaceAll('"', '""')}"`;
}
