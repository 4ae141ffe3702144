import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { Prisma } from '../generated/client.ts';
import { isJsonObject, type JsonObject } from './json-object.ts';
import type { Database } from './open-database.ts';

/** The tables of an entity's own rows, in the order in which they refer to each other, and what of them is no configuration. */
export const ownRowTables = {
  repositories: ['updatedAt', 'state', 'probedAt', 'probeLatencyMs', 'probeErrorCode'],
  backup_configs: ['updatedAt'],
  copy_configs: ['updatedAt'],
  disaster_recovery_plans: ['updatedAt'],
} as const satisfies Record<string, readonly string[]>;

export type OwnRowTable = keyof typeof ownRowTables;

/** A row as it is stored: every column but those that are no configuration. Secrets are sealed, as they are in the table. */
export interface OwnRow {
  readonly table: OwnRowTable;
  readonly id: string;
  readonly row: JsonObject;
}

/** Of one entity: each is a file of the backup. */
const maxRowCount = 50_000;

/** The own rows of an entity, all of one moment, by table and id. Codes: request_invalid (too many), database_unreachable. */
export async function ownRowsOfEntity(db: Database, businessEntityId: string): Promise<OwnRow[]> {
  const isolationLevel = Prisma.TransactionIsolationLevel.RepeatableRead;
  return await db.client.$transaction((tx) => readOwnRows(tx, businessEntityId), { isolationLevel });
}

/** ownRowsOfEntity inside a transaction. */
export async function readOwnRows(tx: Prisma.TransactionClient, businessEntityId: string): Promise<OwnRow[]> {
  const rows: OwnRow[] = [];
  for (const [table, leftOut] of Object.entries(ownRowTables)) {
    const found = await tx.$queryRaw<{ id: string; row: unknown }[]>`
      SELECT "id", to_jsonb(t) - ${leftOut}::text[] AS "row" FROM ${Prisma.raw(`"${table}"`)} t
      WHERE "businessEntityId" = ${businessEntityId} ORDER BY "id" COLLATE "C" LIMIT ${maxRowCount + 1}`;
    for (const { id, row } of found) if (isJsonObject(row) && isOwnRowTable(table)) rows.push({ table, id, row });
  }
  if (rows.length <= maxRowCount) return rows;
  throw new HoldfastError('request_invalid', `the entity has more than ${maxRowCount} rows of its own, which ownRows cannot store`);
}

export function isOwnRowTable(name: string): name is OwnRowTable {
  return Object.hasOwn(ownRowTables, name);
}

/** One text for equal values: keys sorted, two spaces, a line feed at the end. */
export function canonicalJson(value: unknown): string {
  return `${JSON.stringify(sorted(value), null, 2)}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
