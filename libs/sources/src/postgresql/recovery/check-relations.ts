import pg from 'pg';
import type { InspectionLog } from './inspection-log.ts';
import type { TimeBudget } from './time-budget.ts';

/**
 * Tables and B-tree indexes by the extension amcheck: verify_heapam says what is wrong with a table's rows, bt_index_check whether an
 * index is in order and has an entry for every row. Catalogs are checked too. Where the extension is not there and cannot be made, that
 * is a note: nothing is known to be wrong.
 */
export interface CheckedRelations {
  readonly tableCount: number;
  readonly indexCount: number;
}

/** Of one table; there are as many as the disk ruined. */
const maxCorruptionCount = 20;

const heapsQuery = `SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
  WHERE c.relkind IN ('r', 'm', 't') AND a.amname = 'heap' AND c.relpersistence <> 't' ORDER BY c.relpages, c.oid`;

const indexesQuery = `SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
  WHERE c.relkind = 'i' AND a.amname = 'btree' AND i.indisready AND i.indisvalid AND c.relpersistence <> 't' ORDER BY c.relpages, c.oid`;

/** Null when amcheck is not to be had. `mayCreate` makes the extension, as one may at a server that is thrown away. */
export async function checkRelations(
  client: pg.Client,
  database: string,
  options: { readonly mayCreate: boolean; readonly budget: TimeBudget; readonly log: InspectionLog },
): Promise<CheckedRelations | null> {
  const { mayCreate, budget, log } = options;
  await budget.limitNext(client);
  const schema = await extensionSchema(client, mayCreate);
  if (schema === null) {
    log.note(`${database}: tables and indexes were not checked, for the extension amcheck is not there`);
    return null;
  }
  let tableCount = 0;
  for (const { oid, name } of (await client.query<{ oid: number; name: string }>(heapsQuery)).rows) {
    if (budget.isSpent) break;
    const corruptions = await log.attempt({ kind: 'table_damaged', database, relation: name }, async () => {
      await budget.limitNext(client);
      const query = `SELECT blkno, msg FROM ${schema}.verify_heapam(relation => $1::oid::regclass, on_error_stop => false) LIMIT ${maxCorruptionCount}`;
      return (await client.query<{ blkno: string; msg: string }>(query, [oid])).rows;
    });
    if (corruptions !== null) tableCount++;
    for (const { blkno, msg } of corruptions ?? [])
      log.find({ kind: 'table_damaged', database, relation: name, detail: `block ${blkno}: ${msg}` });
  }
  let indexCount = 0;
  for (const { oid, name } of (await client.query<{ oid: number; name: string }>(indexesQuery)).rows) {
    if (budget.isSpent) break;
    const checked = await log.attempt({ kind: 'index_damaged', database, relation: name }, async () => {
      await budget.limitNext(client);
      return client.query(`SELECT ${schema}.bt_index_check($1::oid::regclass, true)`, [oid]);
    });
    if (checked !== null) indexCount++;
  }
  if (budget.isSpent) log.note(`${database}: not all tables and indexes were checked in the time that there was`);
  return { tableCount, indexCount };
}

/** The schema of amcheck, quoted for SQL; null when it is not there. */
async function extensionSchema(client: pg.Client, mayCreate: boolean): Promise<string | null> {
  const query = `SELECT quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'`;
  const found = (await client.query<{ schema: string }>(query)).rows[0]?.schema;
  if (found !== undefined || !mayCreate) return found ?? null;
  try {
    await client.query('CREATE EXTENSION amcheck');
  } catch (error) {
    // Not installed at this machine, or no schema to put it in.
    if (error instanceof pg.DatabaseError) return null;
    throw error;
  }
  return (await client.query<{ schema: string }>(query)).rows[0]?.schema ?? null;
}
