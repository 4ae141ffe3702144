import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { mysqlPlace } from './connection-options.ts';
import { quoteName, runStatements, type StatementPlace } from './statements.ts';

export interface ServerFacts {
  readonly product: 'MariaDB' | 'MySQL';
  /** `10.11.19-MariaDB-0+deb12u1-log` */
  readonly version: string;
  /** Where it writes a binary log, whether this account may know the position in it. */
  readonly positionReadable: boolean;
  /** What the account may not see, by the rights that it has: such things are not in a backup, and no program complains of it. */
  readonly warnings: readonly string[];
}

export interface DatabaseFacts {
  readonly name: string;
  readonly characterSet: string;
  readonly collation: string;
  /** In the order in which a dump has them: sequences before the tables that may use them. */
  readonly tables: readonly TableFacts[];
  readonly views: readonly string[];
}

export interface TableFacts {
  readonly name: string;
  readonly kind: 'table' | 'sequence';
  /** `InnoDB` */
  readonly engine: string;
  /** An estimate of the server's. */
  readonly bytes: number;
}

/** Made by the server for itself. */
const systemDatabases = new Set(['information_schema', 'performance_schema', 'mysql', 'sys']);
/** One transaction shows one moment of them. A sequence is its own table of InnoDB. */
const transactionalEngines = new Set(['InnoDB', 'ROCKSDB', 'TokuDB']);

/** Codes: mysql_*, among them mysql_tls_failed where TLS is asked for and not spoken. */
export async function readServerFacts(place: StatementPlace): Promise<ServerFacts> {
  const rows = await runStatements(place, "SELECT @@version, @@log_bin; SHOW SESSION STATUS LIKE 'Ssl_cipher'; SHOW GRANTS;");
  const [[version = '', logBin] = [], [, cipher = ''] = [], ...grantRows] = rows;
  const name = mysqlPlace(place.connection);
  if (place.connection.tls.mode !== 'disable' && cipher === '') {
    throw new HoldfastError('mysql_tls_failed', `${name} does not offer TLS`, {
      hint: 'give the server a certificate, or set the mode of tls to disable on a network that is safe without',
    });
  }
  const product = version.includes('MariaDB') ? 'MariaDB' : 'MySQL';
  const grants = grantRows.map(([grant = '']) => grant);
  const missing = ['TRIGGER', 'EVENT', 'SHOW VIEW'].filter((right) => !hasRight(grants, right));
  const warnings = missing.map((right) => `${name} has the right ${right} nowhere: what needs it to be seen is not in the backup`);
  return { product, version, warnings, positionReadable: logBin === '1' && mayReadPosition(grants, product) };
}

function mayReadPosition(grants: readonly string[], product: ServerFacts['product']): boolean {
  const onAll = grants.filter((grant) => / ON \*\.\* TO /u.test(grant));
  const reads = ['REPLICATION CLIENT', 'BINLOG MONITOR', 'SUPER'].some((right) => hasRight(onAll, right));
  // MySQL has to be locked for an instant to know it.
  return reads && (product === 'MariaDB' || hasRight(onAll, 'RELOAD'));
}

/** Whether it is granted anywhere: who lacks it for one of several databases is told by the dump, or not at all. */
function hasRight(grants: readonly string[], right: string): boolean {
  return grants.some((grant) => {
    const rights = /^GRANT (.*?) ON /u.exec(grant)?.[1] ?? '';
    return rights.startsWith('ALL PRIVILEGES') || rights.split(', ').includes(right);
  });
}

const databaseSchema = z.object({ name: z.string(), characterSet: z.string(), collation: z.string() });
const tableSchema = z.object({
  database: z.string(),
  name: z.string(),
  type: z.string(),
  engine: z.string().nullable(),
  bytes: z.number().nullable(),
});

/**
 * The databases that are chosen, all but the server's own when none are, by their names' bytes; `excluded` tables, `database.table`,
 * are not there. Code: mysql_not_found.
 */
export async function readCatalog(
  place: StatementPlace,
  { databases, excluded = [] }: { databases?: readonly string[] | undefined; excluded?: readonly string[] | undefined },
): Promise<DatabaseFacts[]> {
  const rows = await runStatements(
    place,
    `SELECT JSON_OBJECT('name', SCHEMA_NAME, 'characterSet', DEFAULT_CHARACTER_SET_NAME, 'collation', DEFAULT_COLLATION_NAME)
     FROM information_schema.SCHEMATA`,
  );
  const all = rows.map(([json = '']) => databaseSchema.parse(JSON.parse(json)));
  const missing = (databases ?? []).filter((name) => !all.some((each) => each.name === name));
  if (missing.length > 0) {
    throw new HoldfastError('mysql_not_found', `${mysqlPlace(place.connection)} has no database ${missing.join(', ')}`, {
      hint: 'check the name, and that the account has rights in the database: without any it does not see it',
    });
  }
  const chosen = all.filter(({ name }) => (databases === undefined ? !systemDatabases.has(name.toLowerCase()) : databases.includes(name)));
  if (chosen.length === 0) return [];
  const tables = await readTables(
    place,
    chosen.map(({ name }) => name),
  );
  return chosen
    .map((database) => {
      const own = tables.filter((table) => table.database === database.name && !excluded.includes(`${database.name}.${table.name}`));
      const kept = own.filter(({ type }) => type !== 'VIEW' && type !== 'SYSTEM VIEW');
      const facts = kept.map(({ name, type, engine, bytes }): TableFacts => ({
        name,
        kind: type === 'SEQUENCE' ? 'sequence' : 'table',
        engine: engine ?? 'unknown',
        bytes: bytes ?? 0,
      }));
      const sequences = facts.filter(({ kind }) => kind === 'sequence');
      const views = own.filter(({ type }) => type === 'VIEW').map(({ name }) => name);
      return { ...database, tables: [...sequences, ...facts.filter(({ kind }) => kind === 'table')], views };
    })
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

/** All of these databases, in the order of SHOW TABLES, which is the one of a dump. */
async function readTables(place: StatementPlace, databases: readonly string[]): Promise<z.infer<typeof tableSchema>[]> {
  const facts = `SELECT JSON_OBJECT('database', TABLE_SCHEMA, 'name', TABLE_NAME, 'type', TABLE_TYPE, 'engine', ENGINE, 'bytes', DATA_LENGTH)
    FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema');`;
  const shows = databases.map((name, index) => `SHOW TABLES FROM ${quoteName(name)}; SELECT ${index}, 'end of a list';`);
  const rows = await runStatements(place, [facts, "SELECT 'lists', 'follow';", ...shows].join('\n'));
  const border = rows.findIndex(([first, second]) => first === 'lists' && second === 'follow');
  const known = new Map(
    rows.slice(0, border).map(([json = '']) => {
      const table = tableSchema.parse(JSON.parse(json));
      return [`${table.database}\0${table.name}`, table] as const;
    }),
  );
  const found: z.infer<typeof tableSchema>[] = [];
  let at = 0;
  for (const row of rows.slice(border + 1)) {
    if (row.length === 2) at++;
    else found.push(...[known.get(`${databases[at] ?? ''}\0${row[0] ?? ''}`) ?? []].flat());
  }
  return found;
}

/** Tables of which one transaction does not show one moment. */
export function withoutTransactions({ name, tables }: DatabaseFacts): string[] {
  return tables
    .filter(({ engine, kind }) => kind === 'table' && !transactionalEngines.has(engine))
    .map((table) => `${name}.${table.name} (${table.engine})`);
}
