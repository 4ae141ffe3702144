import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { migrate, readMigrations } from '../migrate.ts';
import { openDatabase, type Database } from '../open-database.ts';
import { startTestServer } from './test-server.ts';

/** The lock under which the template is made: test files of one run may begin together. */
const templateLock = 72_707_399;

/** Connections close a moment after they were told to. */
const leakGraceMs = 2_000;
const leakPollMs = 20;

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly db: Database;
  /** Closes `db` and drops the database. Fails, naming them, when connections of the test are still open. */
  drop(): Promise<void>;
}

/** A database of its own with all migrations applied, copied from a template: fast after the first. */
export async function createTestDatabase(options: { readonly poolSize?: number } = {}): Promise<TestDatabase> {
  const { url, drop } = await createDatabase(await ensureTemplate());
  const db = await openDatabase({ url, applicationName: 'test', ...options });
  const close = async (): Promise<void> => {
    await db.close();
    await drop();
  };
  return { url, db, drop: close, [Symbol.asyncDispose]: close };
}

/** A database with nothing in it, for what makes its own tables. */
export async function createEmptyDatabase(): Promise<{ url: string; drop: () => Promise<void> }> {
  return createDatabase('template0');
}

async function createDatabase(template: string): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await administer((client) => client.query(`CREATE DATABASE "${name}" TEMPLATE "${template}"`));
  return { url: await urlOf(name), drop: () => dropDatabase(name) };
}

async function dropDatabase(name: string): Promise<void> {
  await administer(async (client) => {
    const leaks = await openConnections(client, name);
    await client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
    if (leaks.length > 0) throw new Error(`the test left connections open: ${leaks.join(', ')}`);
  });
}

async function openConnections(client: pg.Client, database: string): Promise<string[]> {
  for (let waitedMs = 0; ; waitedMs += leakPollMs) {
    const { rows } = await client.query<{ application: string }>(
      `SELECT application_name AS application FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`,
      [database],
    );
    if (rows.length === 0 || waitedMs >= leakGraceMs) return rows.map(({ application }) => application);
    await delay(leakPollMs);
  }
}

let template: Promise<string> | undefined;

/** Named after the migrations' content, so that a given server keeps one for each version. */
async function ensureTemplate(): Promise<string> {
  return (template ??= makeTemplate());
}

async function makeTemplate(): Promise<string> {
  const hash = createHash('sha256');
  for (const { checksum } of await readMigrations()) hash.update(checksum);
  const name = `holdfast_template_${hash.digest('hex').slice(0, 16)}`;
  await administer(async (client) => {
    await client.query('SELECT pg_advisory_lock($1)', [templateLock]);
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
    if (rowCount !== 0) return;
    // Made under another name: an interrupted run leaves no half-made template.
    const making = `${name}_${randomBytes(4).toString('hex')}`;
    await client.query(`CREATE DATABASE "${making}" TEMPLATE template0`);
    await migrate(await urlOf(making));
    await client.query(`ALTER DATABASE "${making}" RENAME TO "${name}"`);
  });
  return name;
}

let server: ReturnType<typeof startTestServer> | undefined;

async function urlOf(database: string): Promise<string> {
  const url = new URL((await (server ??= startTestServer())).url);
  url.pathname = `/${database}`;
  return url.href;
}

async function administer<T>(action: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: (await (server ??= startTestServer())).url, application_name: 'test-admin' });
  await client.connect();
  try {
    return await action(client);
  } finally {
    await client.end();
  }
}
