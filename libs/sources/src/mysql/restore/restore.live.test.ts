import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openMysqlPart } from '../mysql-part.ts';
import { writePart } from '../testing/read-part.ts';
import { makeShop, shopDigest } from '../testing/sample-shop.ts';
import { missingMariadb, startTestMariadb, type TestMariadb } from '../testing/test-mariadb.ts';
import { restoreMysqlDatabase } from './restore-database.ts';
import { restoreMysqlTable } from './restore-table.ts';

const missing = missingMariadb();
const never = new AbortController().signal;

describe.skipIf(missing !== null)(`recovery into a MariaDB server ${missing ?? ''}`, () => {
  let server: TestMariadb;
  let folder: string;
  let digest: string[];
  const orders = (): string => join(folder, 'databases/shop/tables/00009.orders.sql');

  beforeAll(async () => {
    server = await startTestMariadb({ settings: ['--log-bin-trust-function-creators=1'] });
    await makeShop(server);
    folder = await mkdtemp(join(tmpdir(), 'holdfast-mysql-restore-'));
    const part = openMysqlPart({
      name: 'db',
      connection: server.connection,
      consistency: 'transaction',
      users: false,
      programPlaces: {},
      signal: never,
    });
    await writePart(part, folder);
    await part.close();
    digest = await shopDigest(server, 'shop');
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  /** Only what there was. */
  const databases = async (): Promise<string[]> => (await server.query('SHOW DATABASES')).map(([name = '']) => name);
  beforeEach(async () => {
    expect((await databases()).filter((name) => name.startsWith('holdfast_'))).toEqual([]);
  });

  const files = { read: (path: string): AsyncIterable<Uint8Array> => createReadStream(join(folder, path)) };
  const options = (more: { database: string; sourceDatabase?: string; signal?: AbortSignal }) => ({
    files,
    connection: server.connection,
    sourceDatabase: 'shop',
    id: 'run_1',
    programPlaces: {},
    onProgress: () => {},
    signal: never,
    ...more,
  });
  /** What is in a digest under the name of the backup's database. */
  const renamed = (lines: readonly string[], name: string): string[] => lines.map((line) => line.replaceAll(`\`${name}\`.`, '`shop`.'));

  test('a database in the place of a damaged one, with all keys between its tables', async () => {
    await server.query('DELETE FROM shop.orders WHERE id > 1100; DROP TRIGGER shop.shout; CREATE TABLE shop.younger (a INT)');
    await expect(restoreMysqlDatabase({ ...options({ database: 'shop' }), overwrite: false })).rejects.toMatchObject({
      code: 'target_not_empty',
    });
    expect(await server.query('SELECT COUNT(*) FROM shop.orders')).toEqual([['101']]);
    const seen: number[] = [];
    const restored = await restoreMysqlDatabase({
      ...options({ database: 'shop' }),
      overwrite: true,
      onProgress: ({ filesDone }) => seen.push(filesDone),
    });
    expect(restored).toMatchObject({ tableCount: 9, failed: [], warnings: [] });
    expect(seen.at(-1)).toBe(11);
    expect(await shopDigest(server, 'shop')).toEqual(digest);
    await expect(server.query("INSERT INTO shop.orders (customer, note) VALUES (77, 'nobody')")).rejects.toThrow('foreign key constraint');
  });

  test('under another name, new or empty', async () => {
    await server.query('CREATE DATABASE `other-1`');
    for (const database of ['other-1', 'other-2']) {
      const restored = await restoreMysqlDatabase({ ...options({ database }), overwrite: false });
      expect(restored.failed).toEqual([]);
      expect(restored.warnings).toEqual([expect.stringContaining('from the one in shop') as string]);
      expect(renamed(await shopDigest(server, database), database)).toEqual(digest);
      await server.query(`DROP DATABASE \`${database}\``);
    }
  });

  test('a backup that fails in the middle leaves what was there', async () => {
    const whole = await readFile(orders());
    await writeFile(orders(), Buffer.concat([whole.subarray(0, -3000), Buffer.from('\nINSERT INTO nothing_here VALUES (1);\n')]));
    try {
      await expect(restoreMysqlDatabase({ ...options({ database: 'shop' }), overwrite: true })).rejects.toThrow(
        'the table orders could not be loaded',
      );
      expect(await shopDigest(server, 'shop')).toEqual(digest);
      await expect(restoreMysqlDatabase({ ...options({ database: 'fresh' }), overwrite: false })).rejects.toThrow(
        'orders could not be loaded',
      );
      expect(await databases()).not.toContain('fresh');
      await expect(restoreMysqlTable({ ...options({ database: 'shop' }), table: 'orders', as: 'orders_2' })).rejects.toThrow('ERROR');
      expect(await shopDigest(server, 'shop')).toEqual(digest);
    } finally {
      await writeFile(orders(), whole);
    }
  });

  test('a recovery that was killed in the middle is done anew by its next attempt, and only by that', async () => {
    await server.query('CREATE DATABASE holdfast_run_1; CREATE TABLE holdfast_run_1.holdfast_is_filling_the_target (a INT);');
    await server.query('CREATE DATABASE half; CREATE TABLE half.customers (a INT)');
    await expect(restoreMysqlDatabase({ ...options({ database: 'half' }), id: 'run_2', overwrite: false })).rejects.toMatchObject({
      code: 'target_not_empty',
    });
    expect((await restoreMysqlDatabase({ ...options({ database: 'half' }), overwrite: false })).failed).toEqual([]);
    expect(renamed(await shopDigest(server, 'half'), 'half')).toEqual(digest);
    await server.query('DROP DATABASE half');
  });

  test('a table whose recovery was killed after the rename is made anew by its next attempt, and only by that', async () => {
    await server.query('CREATE DATABASE holdfast_run_1; CREATE TABLE holdfast_run_1.holdfast_is_filling_the_target (a INT)');
    await server.query('CREATE TABLE shop.renamed (a INT)');
    const wanted = { ...options({ database: 'shop' }), table: 'orders', as: 'renamed' };
    await expect(restoreMysqlTable({ ...wanted, id: 'run_2' })).rejects.toMatchObject({ code: 'target_not_empty' });
    const told: unknown[] = [];
    const restored = await restoreMysqlTable({ ...wanted, onRestored: async (value) => void told.push(value) });
    expect(told).toEqual([restored]);
    expect(await server.query('SELECT COUNT(*) FROM shop.renamed')).toEqual(await server.query('SELECT COUNT(*) FROM shop.orders'));
    await server.query('DROP TABLE shop.renamed');
    // Killed before the rename: the table there is somebody else's.
    await server.query('CREATE DATABASE holdfast_run_1; CREATE TABLE holdfast_run_1.holdfast_is_filling_the_target (a INT)');
    await server.query('CREATE TABLE holdfast_run_1.orders (a INT); CREATE TABLE shop.renamed (a INT)');
    await expect(restoreMysqlTable(wanted)).rejects.toMatchObject({ code: 'target_not_empty' });
    expect(await databases()).not.toContain('holdfast_run_1');
    await server.query('DROP TABLE shop.renamed');
  });

  test('an abort leaves nothing behind', async () => {
    const abort = new AbortController();
    const restoring = restoreMysqlDatabase({
      ...options({ database: 'fresh', signal: abort.signal }),
      overwrite: false,
      onProgress: ({ filesDone }) => void (filesDone === 3 && abort.abort(new Error('stop'))),
    });
    await expect(restoring).rejects.toThrow('stop');
    expect(await databases()).not.toContain('fresh');
  });

  test('one table into a database in use: with its keys where it was lost, without them beside it', async () => {
    await expect(restoreMysqlTable({ ...options({ database: 'shop' }), table: 'orders' })).rejects.toMatchObject({
      code: 'target_not_empty',
    });
    await expect(restoreMysqlTable({ ...options({ database: 'shop' }), table: 'nothing' })).rejects.toMatchObject({
      code: 'mysql_not_found',
    });
    const beside = await restoreMysqlTable({ ...options({ database: 'shop' }), table: 'orders', as: 'orders of the backup' });
    expect(beside.warnings).toEqual(['the foreign key of_customer was left out']);
    expect(await server.query('SELECT COUNT(*) FROM shop.`orders of the backup` JOIN shop.orders USING (id, amount, note)')).not.toEqual([
      ['0'],
    ]);
    await server.query('DROP TABLE shop.`orders of the backup`, shop.orders');
    expect((await restoreMysqlTable({ ...options({ database: 'shop' }), table: 'orders' })).warnings).toEqual([]);
    expect(await shopDigest(server, 'shop')).toEqual(digest);
  });

  test('text that looks like a command of the client is not obeyed', async () => {
    const whole = await readFile(orders());
    const mark = join(folder, 'was-obeyed');
    await writeFile(orders(), Buffer.concat([Buffer.from(`\\! touch ${mark}\nsystem touch ${mark}\n\\! touch ${mark}\n`), whole]));
    try {
      await expect(restoreMysqlTable({ ...options({ database: 'shop' }), table: 'orders', as: 'x' })).rejects.toMatchObject({
        code: 'mysql_failed',
      });
      await expect(readFile(mark)).rejects.toThrow('ENOENT');
    } finally {
      await writeFile(orders(), whole);
    }
  });
});
