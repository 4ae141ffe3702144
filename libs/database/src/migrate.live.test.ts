import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { assertMigrated, migrate } from './migrate.ts';
import { openDatabase, type Database } from './open-database.ts';
import { createEmptyDatabase } from './testing/test-database.ts';

let folder: string;
let url: string;
let db: Database;
let drop: () => Promise<void>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-migrations-'));
  ({ url, drop } = await createEmptyDatabase());
  db = await openDatabase({ url, applicationName: 'test' });
});
afterEach(async () => {
  await db.close();
  await drop();
  await rm(folder, { recursive: true });
});

async function write(name: string, sql: string): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'migration.sql'), sql);
}
const tables = async () => {
  const rows = await db.client.$queryRaw<{ name: string }[]>`
    SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_prisma_migrations' ORDER BY 1`;
  return rows.map(({ name }) => name);
};
const record = (name: string) => db.client.$queryRaw`SELECT * FROM "_prisma_migrations" WHERE "migration_name" = ${name}`;

test('our own migrations make an empty database ours, once', async () => {
  await expect(assertMigrated(db)).rejects.toMatchObject({ code: 'database_schema_mismatch' });
  const applied = await migrate(url);
  expect(applied.length).toBeGreaterThan(0);
  await assertMigrated(db);
  expect(await migrate(url)).toEqual([]);
});

test('processes that start together apply each migration once', async () => {
  await write('1_a', 'CREATE TABLE a (id int); SELECT pg_sleep(0.2);');
  const applied = await Promise.all([migrate(url, { folder }), migrate(url, { folder }), migrate(url, { folder })]);
  expect(applied.flat()).toEqual(['1_a']);
  expect(await record('1_a')).toMatchObject([
    { applied_steps_count: 1, rolled_back_at: null, checksum: expect.stringMatching(/^[0-9a-f]{64}$/u) },
  ]);
});

test('a migration that fails leaves nothing of itself, and those before it stay', async () => {
  await write('1_a', 'CREATE TABLE a (id int);');
  await write('2_b', 'CREATE TABLE b (id int); CREATE TABLE a (id int);');
  await expect(migrate(url, { folder })).rejects.toMatchObject({
    code: 'database_schema_mismatch',
    message: expect.stringMatching(/2_b.*"a" already exists/u),
  });
  expect(await tables()).toEqual(['a']);
  await write('2_b', 'CREATE TABLE b (id int);');
  expect(await migrate(url, { folder })).toEqual(['2_b']);
  expect(await tables()).toEqual(['a', 'b']);
});

test('an edited, a half-done and a newer migration are refused, by the applier and at the start', async () => {
  await write('1_a', 'CREATE TABLE a (id int);');
  await migrate(url, { folder });
  await assertMigrated(db, folder);

  await write('1_a', 'CREATE TABLE a (id bigint);');
  await expect(migrate(url, { folder })).rejects.toThrow(/edited/u);
  await expect(assertMigrated(db, folder)).rejects.toThrow(/edited/u);
  await write('1_a', 'CREATE TABLE a (id int);');

  await db.client.$executeRaw`UPDATE "_prisma_migrations" SET "finished_at" = NULL`;
  await expect(migrate(url, { folder })).rejects.toThrow(/not finished/u);
  await expect(assertMigrated(db, folder)).rejects.toThrow(/not finished/u);
  await db.client.$executeRaw`UPDATE "_prisma_migrations" SET "finished_at" = now(), "migration_name" = '2_b'`;
  await expect(migrate(url, { folder })).rejects.toThrow(/does not know/u);
  expect(await tables()).toEqual(['a']);
});

test('one that Prisma marked as rolled back is applied again', async () => {
  await write('1_a', 'CREATE TABLE IF NOT EXISTS a (id int);');
  await migrate(url, { folder });
  await db.client.$executeRaw`UPDATE "_prisma_migrations" SET "finished_at" = NULL, "rolled_back_at" = now()`;
  expect(await migrate(url, { folder })).toEqual(['1_a']);
});

test('a database that is not there is told as such', async () => {
  await expect(migrate('postgresql://nobody@127.0.0.1:1/none')).rejects.toMatchObject({ code: 'database_unreachable' });
});
