import type pg from 'pg';
import type { InspectionLog } from './inspection-log.ts';
import type { TimeBudget } from './time-budget.ts';

/** One database of a server: its catalog, and how many rows its tables have. */
export interface DatabaseReport {
  readonly name: string;
  readonly bytes: number;
  readonly relationCount: number;
  readonly tableCount: number;
  /** Of all tables; exact when every one was counted to its end. */
  readonly rowCount: number;
  readonly isExact: boolean;
  /** The largest ones. */
  readonly tables: readonly TableReport[];
}

export interface TableReport {
  /** `schema.name`, as SQL quotes it. */
  readonly name: string;
  readonly rowCount: number;
  /** False for the planner's estimate, of a table with more rows than are counted or that there was no time for. */
  readonly isExact: boolean;
  readonly bytes: number;
}

/** More would be a list that nobody reads, in a row of the database. */
const maxTablesListed = 1_000;

const catalogQuery = `SELECT (SELECT count(*) FROM pg_class) AS relations, (SELECT count(*) FROM pg_attribute) AS attributes,
  (SELECT count(*) FROM pg_type) AS types, (SELECT count(*) FROM pg_proc) AS functions, (SELECT count(*) FROM pg_depend) AS dependencies,
  (SELECT count(*) FROM pg_index) AS indexes, (SELECT count(*) FROM pg_constraint) AS constraints, pg_database_size(current_database()) AS bytes`;

/** Tables and materialized views with a storage of their own and something to read: no views, foreign tables, parents of partitions. */
const tablesQuery = `SELECT format('%I.%I', n.nspname, c.relname) AS name, greatest(c.reltuples, 0)::float8 AS estimate, pg_total_relation_size(c.oid) AS bytes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
  ORDER BY c.relpages, c.oid`;

/**
 * Reads the catalog and counts rows, the small tables first; up to `exactRowLimit` rows of each are counted one by one. Null when the
 * catalog cannot be read. What is wrong goes to the log.
 */
export async function inspectDatabase(
  client: pg.Client,
  name: string,
  options: { readonly exactRowLimit: number; readonly budget: TimeBudget; readonly log: InspectionLog },
): Promise<DatabaseReport | null> {
  const { exactRowLimit, budget, log } = options;
  const catalog = await log.attempt({ kind: 'catalog_unreadable', database: name, relation: null }, async () => {
    await budget.limitNext(client);
    const summary = await client.query<Record<'relations' | 'bytes', string>>(catalogQuery);
    return { summary: summary.rows[0], tables: (await client.query<{ name: string; estimate: number; bytes: string }>(tablesQuery)).rows };
  });
  if (catalog === null) return null;
  const tables: TableReport[] = [];
  for (const table of catalog.tables) {
    const counted = await log.attempt({ kind: 'table_unreadable', database: name, relation: table.name }, async () => {
      await budget.limitNext(client);
      // The name was quoted by the server itself. Tables that inherit from it count themselves.
      const query = `SELECT count(*) AS count FROM (SELECT FROM ONLY ${table.name} LIMIT $1) AS counted`;
      const { rows } = await client.query<{ count: string }>(query, [exactRowLimit + 1]);
      return Number(rows[0]?.count ?? 0);
    });
    const isExact = counted !== null && counted <= exactRowLimit;
    const rowCount = isExact ? counted : Math.max(counted ?? 0, Math.round(table.estimate));
    tables.push({ name: table.name, rowCount, isExact, bytes: Number(table.bytes) });
  }
  return {
    name,
    bytes: Number(catalog.summary?.bytes ?? 0),
    relationCount: Number(catalog.summary?.relations ?? 0),
    tableCount: tables.length,
    rowCount: tables.reduce((sum, table) => sum + table.rowCount, 0),
    isExact: tables.every((table) => table.isExact),
    tables: tables.toReversed().slice(0, maxTablesListed),
  };
}
