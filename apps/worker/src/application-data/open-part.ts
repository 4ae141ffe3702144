import { join } from 'node:path';
import { partPassword } from '@holdfast/database/backup-configs';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import type { Part, ServerPart } from '@holdfast/sources/application-data/part';
import { openPostgresqlPart } from '@holdfast/sources/application-data/postgresql-part';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import type { ApplicationPartKind, ApplicationPartOptionsOf } from '@holdfast/sources/source-options/application-data';
import { mysqlPlace } from '@holdfast/sources/mysql/connection-options';
import { openMysqlPart } from '@holdfast/sources/mysql/mysql-part';
import { redisPlace } from '@holdfast/sources/redis/connection-options';
import { openRedisPart } from '@holdfast/sources/redis/redis-part';
import { openSqlitePart } from '@holdfast/sources/sqlite/sqlite-part';
import { logicalOptions } from '../backup-ways/postgresql.ts';
import type { WorkerContext } from '../worker-context.ts';

/** Where a part is opened. */
export interface PartSurroundings {
  readonly context: Pick<WorkerContext, 'config' | 'database' | 'masterKey'>;
  readonly configId: string;
  /** A private folder of the run, which goes with it. */
  readonly scratch: string;
  /** Ends what the part waits for. */
  readonly signal: AbortSignal;
}

type OpenedPartKind = Exclude<ApplicationPartKind, 'paths'>;

interface PartOpener<P> {
  /** Errors: path_outside_roots, the code for a host that is not allowed, secret_unreadable, those of the part. */
  open(options: P, surroundings: PartSurroundings): Promise<Part>;
}

const openers: { readonly [K in OpenedPartKind]: PartOpener<ApplicationPartOptionsOf<K>> } = {
  sqlite: { open: openSqlite },
  postgresql: { open: openPostgresql },
  mysql: { open: openMysql },
  redis: { open: openRedis },
};

/** Opens a part by its kind; the caller closes it. Errors: those of its opener. */
export async function openPart(options: ApplicationPartOptionsOf<OpenedPartKind>, surroundings: PartSurroundings): Promise<Part> {
  const opener: PartOpener<ApplicationPartOptionsOf<OpenedPartKind>> = openers[options.kind];
  return await opener.open(options, surroundings);
}

async function openSqlite(options: ApplicationPartOptionsOf<'sqlite'>, { context, scratch, signal }: PartSurroundings): Promise<Part> {
  const { name, path, blocksWriters, patienceSeconds, check } = options;
  const limits = { blocksWriters, patienceMs: patienceSeconds * 1000, check };
  return await openSqlitePart({ name, path, ...limits, roots: context.config.sourceRoots, scratch: join(scratch, name), signal });
}

async function openPostgresql(
  options: ApplicationPartOptionsOf<'postgresql'>,
  { context, configId, signal }: PartSurroundings,
): Promise<Part> {
  const { config, database, masterKey } = context;
  const { name, connection } = options;
  assertAllowedHost(connection, config.databaseHosts, 'postgresql_host_not_allowed');
  const password = await partPassword(database.client, configId, { name, place: connectionPlace(connection) }, masterKey);
  return await openPostgresqlPart({
    ...logicalOptions(options, password),
    name,
    toolPlaces: { binFolders: config.postgresqlBinFolders },
    signal,
  });
}

async function openMysql(
  options: ApplicationPartOptionsOf<'mysql'>,
  { context, configId, scratch, signal }: PartSurroundings,
): Promise<Part> {
  const { config, database, masterKey } = context;
  const { name, connection, databases, excludeTables, consistency, users } = options;
  assertAllowedHost(connection, config.databaseHosts, 'mysql_host_not_allowed');
  const password = (await partPassword(database.client, configId, { name, place: mysqlPlace(connection) }, masterKey)) ?? undefined;
  const programPlaces = { binFolders: config.mysqlBinFolders };
  const part = openMysqlPart({
    name,
    connection: { ...connection, password },
    databases,
    excludeTables,
    consistency,
    users,
    programPlaces,
    scratch,
    signal,
  });
  return await inspected(part);
}

async function openRedis(
  { name, connection }: ApplicationPartOptionsOf<'redis'>,
  { context, configId, signal }: PartSurroundings,
): Promise<Part> {
  const { config, database, masterKey } = context;
  assertAllowedHost(connection, config.databaseHosts, 'redis_host_not_allowed');
  const password = (await partPassword(database.client, configId, { name, place: redisPlace(connection) }, masterKey)) ?? undefined;
  return await inspected(openRedisPart({ name, connection: { ...connection, password }, signal }));
}

async function inspected(part: ServerPart): Promise<Part> {
  try {
    await part.inspect();
    return part;
  } catch (error) {
    await part.close();
    throw error;
  }
}
