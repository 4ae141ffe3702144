import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import { advisoryLocks } from './advisory-lock.ts';
import { connectionConfig } from './connection-config.ts';
import { translateDatabaseError } from './database-error.ts';
import type { Database } from './open-database.ts';

/** `<yyyymmddhhmmss>_<name>/migration.sql`, applied in the order of their names. */
export const migrationsFolder = join(import.meta.dirname, '../../../prisma/migrations');

/** How long one of several processes that start together waits for the one that migrates. */
const lockTimeoutMs = 120_000;

/** Prisma's own record, so that its tools understand the database too. */
const createRecord = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
  )`;

const readRecord = `SELECT "migration_name" AS "name", "checksum", "finished_at" IS NOT NULL AS "isFinished"
  FROM "_prisma_migrations" WHERE "rolled_back_at" IS NULL`;

export interface Migration {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file, in hex. */
  readonly checksum: string;
}

export interface AppliedMigration {
  readonly name: string;
  readonly checksum: string;
  readonly isFinished: boolean;
}

/** The migrations of a folder in their order. */
export async function readMigrations(folder: string = migrationsFolder): Promise<Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const read = async (name: string): Promise<Migration> => {
    const sql = await readFile(join(folder, name, 'migration.sql'), 'utf8');
    return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
  };
  return Promise.all(names.toSorted().map(read));
}

/**
 * What is still to be applied. Code: database_schema_mismatch, when an applied migration was edited since, was left half-done,
 * or is not among ours (the database belongs to a newer version).
 */
export function pendingMigrations(ours: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  const byName = new Map(ours.map((migration) => [migration.name, migration]));
  for (const { name, checksum, isFinished } of applied) {
    const migration = byName.get(name);
    if (migration === undefined) {
      throw mismatch(
        `the database has migration ${name}, which this version does not know`,
        'start the version that made it, or a newer one',
      );
    }
    if (!isFinished) {
      throw mismatch(`migration ${name} was begun and not finished`, 'mend the database by hand or restore it, then mark the migration');
    }
    if (migration.checksum !== checksum) {
      throw mismatch(`migration ${name} was edited after it was applied`, 'put the file back as it was and write a new migration');
    }
  }
  const done = new Set(applied.map(({ name }) => name));
  return ours.filter(({ name }) => !done.has(name));
}

/**
 * Brings a database to this version and gives the names of what was applied. Each migration is one transaction together with
 * its record: one that fails leaves nothing behind, and those before it stay. Processes that start together take turns.
 * Codes: database_schema_mismatch, database_unreachable, configuration_invalid (the URL).
 */
export async function migrate(
  url: string,
  options: {
    readonly folder?: string;
    readonly log?: (message: string) => void;
    /** Only these, by their names: for who fills the tables of an older version before the others follow. */
    readonly only?: ReadonlySet<string>;
  } = {},
): Promise<string[]> {
  const all = await readMigrations(options.folder);
  const client = new pg.Client({ ...connectionConfig(url, 'holdfast-migrate'), lock_timeout: lockTimeoutMs });
  // A lost connection is told by the query that it breaks.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT pg_advisory_lock($1)', [advisoryLocks.migrate]);
    await client.query(createRecord);
    const { rows } = await client.query<AppliedMigration>(readRecord);
    const pending = pendingMigrations(all, rows).filter(({ name }) => options.only?.has(name) !== false);
    for (const migration of pending) {
      await applyMigration(client, migration);
      options.log?.(`applied migration ${migration.name}`);
    }
    return pending.map(({ name }) => name);
  } catch (error) {
    throw translateDatabaseError(error);
  } finally {
    // The lock ends with the connection.
    await client.end();
  }
}

/** Throws database_schema_mismatch unless the database is exactly at this version. */
export async function assertMigrated(db: Database, folder: string = migrationsFolder): Promise<void> {
  const ours = await readMigrations(folder);
  const [there] = await db.client.$queryRaw<{ isThere: boolean }[]>`SELECT to_regclass('"_prisma_migrations"') IS NOT NULL AS "isThere"`;
  const applied = there?.isThere === true ? await db.client.$queryRawUnsafe<AppliedMigration[]>(readRecord) : [];
  const pending = pendingMigrations(ours, applied);
  if (pending.length === 0) return;
  throw mismatch(`the database lacks ${pending.map(({ name }) => name).join(', ')}`, 'run `holdfast migrate`');
}

async function applyMigration(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(sql);
    await client.query(
      `INSERT INTO "_prisma_migrations" ("id", "checksum", "migration_name", "finished_at", "applied_steps_count")
       VALUES ($1, $2, $3, clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    );
    await client.query('COMMIT');
  } catch (error) {
    // Nothing to roll back on a connection that is lost: the server has done it.
    await client.query('ROLLBACK').catch(() => undefined);
    const translated = translateDatabaseError(error);
    if (translated instanceof HoldfastError) throw translated;
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('database_schema_mismatch', `migration ${name} failed and was rolled back: ${reason}`, { cause: error });
  }
}

function mismatch(message: string, hint: string): HoldfastError {
  return new HoldfastError('database_schema_mismatch', message, { hint });
}
