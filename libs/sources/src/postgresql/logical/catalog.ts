import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { displayName, quoteIdentifier, quoteName, type QualifiedName } from './quote.ts';
import type { Row, Session } from './session.ts';

/** What a logical backup asks the catalog. Sources: "System Catalogs" in PostgreSQL's manual, 14 to 18. */
export interface DatabaseFacts {
  readonly name: string;
  readonly encoding: string;
  /** What CREATE DATABASE has to be told to make one like it. */
  readonly createOptions: string;
  readonly sizeBytes: number;
}

export interface TableFacts extends QualifiedName {
  readonly oid: string;
  /** Those that are stored: generated ones are computed again. */
  readonly columns: readonly string[];
  /** Of a partition: the partitioned tables above it. */
  readonly ancestors: readonly QualifiedName[];
  /** Of an extension's table of settings: which rows are the user's. Empty for all. */
  readonly condition: string | null;
  readonly estimatedBytes: number;
}

const minVersion = 14;
const maxVersion = 18;

/** The server's major version. Code: postgresql_version_unsupported. */
export async function serverVersion(session: Session): Promise<{ major: number; text: string }> {
  const [row] = await session.query("SELECT current_setting('server_version_num'), current_setting('server_version')");
  const major = Math.floor(Number(row?.[0]) / 10_000);
  const text = row?.[1] ?? '';
  if (major >= minVersion && major <= maxVersion) return { major, text };
  throw new HoldfastError('postgresql_version_unsupported', `${session.place} is PostgreSQL ${text}`);
}

/** Columns that not every version has are read by way of JSON. `i` is ICU, `b` builtin (from 17 on), `c` the C library. */
const databasesSql = `
  SELECT d.datname, pg_encoding_to_char(d.encoding),
         concat_ws(' ', 'TEMPLATE = template0', format('ENCODING = %L', pg_encoding_to_char(d.encoding)),
           CASE j.datlocprovider WHEN 'i' THEN format('LOCALE_PROVIDER = icu ICU_LOCALE = %L', coalesce(j.datlocale, j.daticulocale))
                                 WHEN 'b' THEN format('LOCALE_PROVIDER = builtin BUILTIN_LOCALE = %L', j.datlocale) END,
           format('LC_COLLATE = %L LC_CTYPE = %L', d.datcollate, d.datctype)),
         CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) ELSE 0 END
  FROM pg_database d
  CROSS JOIN LATERAL jsonb_to_record(to_jsonb(d)) AS j (datlocprovider text, datlocale text, daticulocale text)
  WHERE d.datallowconn AND NOT d.datistemplate ORDER BY d.datname`;

/** All databases that can be connected to, templates left out. */
export async function listDatabases(session: Session): Promise<readonly DatabaseFacts[]> {
  const rows = await session.query(databasesSql, [], 'listing the databases');
  return rows.map(([name, encoding, createOptions, size]) => ({
    name: name ?? '',
    encoding: encoding ?? '',
    createOptions: createOptions ?? '',
    sizeBytes: Number(size),
  }));
}

export interface TableChoice {
  readonly schemas?: readonly string[] | undefined;
  /** `schema.table`. */
  readonly excludeTables?: readonly string[] | undefined;
}

/** Ordinary and partitioned tables with data to lock; `$1` the schemas or null, `$2` names that are left out. */
const tablesSql = `
  SELECT c.oid, n.nspname, c.relname, c.relkind,
         (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
         x.condition, x.is_member,
         CASE WHEN c.relkind = 'r' THEN pg_table_size(c.oid) ELSE 0 END,
         has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid),
         CASE WHEN c.relispartition THEN
           (SELECT json_agg(json_build_object('schema', an.nspname, 'name', ac.relname))
              FROM pg_partition_ancestors(c.oid) a JOIN pg_class ac ON ac.oid = a.relid JOIN pg_namespace an ON an.oid = ac.relnamespace
             WHERE a.relid <> c.oid) END
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS is_member,
           (SELECT coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '') FROM pg_extension e
             WHERE c.oid = ANY (e.extconfig) LIMIT 1) AS condition
  ) x
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND ($1::text[] IS NULL OR n.nspname = ANY ($1::text[]))
    AND NOT n.nspname || '.' || c.relname = ANY ($2::text[])
  ORDER BY n.nspname, c.relname`;

export interface TableList {
  /** With rows of their own. */
  readonly tables: readonly TableFacts[];
  /** Those, and the partitioned ones above them: what must not change meanwhile. */
  readonly locked: readonly (QualifiedName & { readonly oid: string })[];
}

/**
 * The tables that a backup takes. Members of extensions come with CREATE EXTENSION and are left out, but for the rows that an extension
 * declares as the user's. Codes: postgresql_denied, which names the tables and what to GRANT.
 */
export async function listTables(session: Session, { schemas, excludeTables = [] }: TableChoice): Promise<TableList> {
  const rows = await session.query(tablesSql, [schemas ?? null, excludeTables], 'listing the tables');
  const wanted = rows.filter((row) => row[6] !== 't' || row[5] !== null);
  refuseDenied(session, wanted);
  const facts = wanted.map((row) => ({ kind: row[3], ...tableOf(row) }));
  return { tables: facts.filter(({ kind }) => kind === 'r'), locked: facts };
}

const namesSchema = z.array(z.string());
const ancestorsSchema = z.array(z.object({ schema: z.string(), name: z.string() }));

function tableOf([oid, schema, name, , columns, condition, , size, , , , ancestors]: Row): TableFacts {
  return {
    oid: oid ?? '',
    schema: schema ?? '',
    name: name ?? '',
    columns: namesSchema.parse(JSON.parse(columns ?? '[]')),
    ancestors: ancestorsSchema.parse(JSON.parse(ancestors ?? '[]')),
    condition: condition === '' ? null : (condition ?? null),
    estimatedBytes: Number(size),
  };
}

/** So many are named; the rest is counted. */
const maxNamed = 10;

function refuseDenied(session: Session, rows: readonly Row[]): void {
  const role = quoteIdentifier(session.user);
  const denied = rows.filter((row) => row[8] !== 't' || row[9] !== 't').map((row) => tableOf(row));
  if (denied.length > 0) {
    const [first] = denied;
    const grants = `GRANT USAGE ON SCHEMA ${quoteIdentifier(first?.schema ?? '')} TO ${role}; GRANT SELECT ON ${quoteName(first ?? { schema: '', name: '' })} TO ${role};`;
    throw new HoldfastError('postgresql_denied', `${session.user} may not read ${named(denied)} at ${session.place}`, {
      hint: `run as a superuser: GRANT pg_read_all_data TO ${role}; or for one table: ${grants} or name the tables in excludeTables`,
    });
  }
  const restricted = rows.filter((row) => row[10] === 't').map((row) => tableOf(row));
  if (restricted.length > 0) {
    throw new HoldfastError(
      'postgresql_denied',
      `row-level security hides rows of ${named(restricted)} from ${session.user} at ${session.place}`,
      {
        hint: `run as a superuser: ALTER ROLE ${role} BYPASSRLS; or name the tables in excludeTables`,
      },
    );
  }
}

function named(tables: readonly QualifiedName[]): string {
  const names = tables.slice(0, maxNamed).map(displayName).join(', ');
  return tables.length > maxNamed ? `${names} and ${tables.length - maxNamed} more tables` : names;
}

export interface SequenceValue extends QualifiedName {
  readonly lastValue: string;
  readonly isCalled: boolean;
}

/** Asked together: one round trip for so many. */
const sequencesPerQuery = 200;

/** All sequences but those that extensions make by themselves. Code: postgresql_denied. */
export async function readSequences(session: Session, schemas: readonly string[] | undefined): Promise<readonly SequenceValue[]> {
  const rows = await session.query(
    `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND ($1::text[] IS NULL OR n.nspname = ANY ($1::text[]))
       AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
            OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
     ORDER BY n.nspname, c.relname`,
    [schemas ?? null],
    'listing the sequences',
  );
  const values: SequenceValue[] = [];
  for (let at = 0; at < rows.length; at += sequencesPerQuery) {
    const part = rows.slice(at, at + sequencesPerQuery).map(([schema, name]) => ({ schema: schema ?? '', name: name ?? '' }));
    const selects = part.map((sequence, index) => `SELECT ${index} AS i, last_value, is_called FROM ${quoteName(sequence)}`);
    const found = await session.query(`${selects.join(' UNION ALL ')} ORDER BY i`, [], 'reading the sequences');
    part.forEach((sequence, index) => {
      const [, lastValue, isCalled] = found[index] ?? [];
      values.push({ ...sequence, lastValue: lastValue ?? '1', isCalled: isCalled === 't' });
    });
  }
  return values;
}
