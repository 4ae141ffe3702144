import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../../connection-options.ts';
import { quoteIdentifier, quoteLiteral } from '../quote.ts';
import { openSession, type Session } from '../session.ts';

/** Objects of one catalog that are neither the system's nor an extension's. */
function countSql(catalog: 'pg_class' | 'pg_proc' | 'pg_type', namespaceColumn: string): string {
  return `(SELECT count(*) FROM ${catalog} o JOIN pg_namespace n ON n.oid = o.${namespaceColumn}
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '${catalog}'::regclass AND d.objid = o.oid AND d.deptype = 'e'))`;
}

/** What stands between a database and being empty. An extension may be there, and what it brought. */
const contentSql = `
  SELECT ${countSql('pg_class', 'relnamespace')} + ${countSql('pg_proc', 'pronamespace')} + ${countSql('pg_type', 'typnamespace')}
    + (SELECT count(*) FROM pg_largeobject_metadata)
    + (SELECT count(*) FROM pg_namespace n WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'))`;

export interface TargetDatabaseOptions {
  /** To the database that is asked first; `database` is the one that is filled. */
  readonly connection: ConnectionOptions;
  readonly database: string;
  /** What CREATE DATABASE is told. */
  readonly createOptions: string;
  /** Whether a database with something in it may be dropped and made anew. */
  readonly overwrite: boolean;
  /** The oid of a database that a former attempt of this recovery made or found empty: that one may be made anew too. */
  readonly ownOid: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Makes sure that there is an empty database of this name, and gives its oid. Nothing is changed when it throws. Codes: target_not_empty,
 * postgresql_denied (no CREATEDB), those of openSession.
 */
export async function readyTargetDatabase(options: TargetDatabaseOptions): Promise<string> {
  const { connection, database, overwrite, ownOid, createOptions, signal } = options;
  await using session = await openSession(connection, signal);
  const found = await oidOf(session, database);
  if (found !== null) {
    const mayDrop = overwrite || found === ownOid;
    if (await isEmpty(connection, database, signal)) return found;
    if (!mayDrop) {
      throw new HoldfastError('target_not_empty', `the database ${database} at ${session.place} is not empty`, {
        hint: 'choose a new database, or allow overwriting, which drops this one and makes it anew',
      });
    }
    if (connection.database === database) {
      throw new HoldfastError('target_not_empty', `the database ${database} is the one that is asked first and cannot be made anew`, {
        hint: 'name another one as database of the connection, such as postgres',
      });
    }
    await session.query(`DROP DATABASE ${quoteIdentifier(database)} WITH (FORCE)`, [], `dropping the database ${database}`);
  }
  await session.query(`CREATE DATABASE ${quoteIdentifier(database)} ${createOptions}`, [], `making the database ${database}`);
  return (await oidOf(session, database)) ?? '';
}

async function oidOf(session: Session, database: string): Promise<string | null> {
  const [row] = await session.query(`SELECT oid FROM pg_database WHERE datname = ${quoteLiteral(database)}`);
  return row?.[0] ?? null;
}

async function isEmpty(connection: ConnectionOptions, database: string, signal: AbortSignal): Promise<boolean> {
  await using session = await openSession({ ...connection, database }, signal);
  const [row] = await session.query(contentSql, [], 'looking whether the database is empty');
  return row?.[0] === '0';
}

/** Whether an error says that the backup's roles are not there, which globals makes. */
export function withRoleHint(error: unknown): unknown {
  if (!isHoldfastError(error) || !/role ".*" does not exist/u.test(error.message)) return error;
  return new HoldfastError(error.code, error.message, {
    cause: error,
    context: error.context,
    hint: 'ask for globals, which makes the roles of the backup that are missing, or make them by hand out of globals.sql',
  });
}
