import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob, type RecoveryJobInput } from '@holdfast/database/recovery-jobs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { mysqlPlace } from '@holdfast/sources/mysql/connection-options';
import { missingMariadb, startTestMariadb, type TestMariadb } from '@holdfast/sources/mysql/testing/test-mariadb';
import { redisPlace } from '@holdfast/sources/redis/connection-options';
import { missingRedisServer, startTestRedisServer, type TestRedisServer } from '@holdfast/sources/redis/testing/test-redis-server';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';

/** A worker is killed while it recovers into a server or a SQLite database; another one goes on, and what was there is as it was until then. */
const missing = missingMariadb() ?? missingRedisServer();
const limitMs = 120_000;
const stepLimitMs = 30_000;
const keyCount = 150_000;
const tables = ['a', 'b', 'c'] as const;
/** Taken by the test, and waited for by whoever ends a run: between its last work and the word that it is done. */
const heldLock = 4711;

describe.skipIf(missing !== null)(`a recovery into a database whose worker is killed ${missing ?? ''}`, () => {
  const stack = new AsyncDisposableStack();
  let mariadb: TestMariadb;
  let redis: TestRedisServer;
  let fixture: WorkerFixture;
  let backupJobId: string;
  let content: string[][];

  const publicOf = ({ password: _sealed, ...connection }: { readonly password: string }) => connection;
  const contentOf = (database: string): Promise<string[][]> =>
    mariadb.query(tables.map((name) => `SELECT COUNT(*), SUM(CRC32(CONCAT(id, note))) FROM ${name};`).join('\n'), { database });
  const enqueue = async (fields: Pick<RecoveryJobInput, 'targetLocation' | 'options'> & Partial<RecoveryJobInput>): Promise<string> => {
    const input = { backupJobId, recoveryType: 'full' as const, execute: true, ...fields };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    await fixture.queues.enqueueRun('recovery', id);
    return id;
  };
  const submit = async (
    server: object,
    password: string,
    more: object = {},
    recoveryType: 'full' | 'selective' = 'full',
  ): Promise<string> => {
    const targetPassword = { password, masterKey: parseMasterKey(fixture.environment['HOLDFAST_MASTER_KEY'] ?? '') };
    const targetLocation = JSON.stringify(server).slice(0, 80);
    return await enqueue({ recoveryType, targetLocation, targetPassword, options: { server, ...more } });
  };
  const bank = (database: string, more: object = {}) => ({
    kind: 'mysql',
    part: 'bank',
    connection: publicOf(mariadb.connection),
    sourceDatabase: 'shop',
    database,
    ...more,
  });
  const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
    const giveUpAtMs = performance.now() + stepLimitMs;
    while (!(await isSo())) {
      if (performance.now() > giveUpAtMs) throw new Error(`not seen: ${what}`);
      await delay(1);
    }
  };
  /** Begins a run and kills its worker when that is `reached`. The server answers nobody meanwhile, so that the worker is still there. */
  const killAt = async (serverPid: number, begin: () => Promise<string>, reached: (id: string) => Promise<void>): Promise<string> => {
    await using worker = await startWorkerProcess(fixture, { HOLDFAST_DATABASE_HOSTS: '127.0.0.1' });
    const id = await begin();
    await reached(id);
    process.kill(serverPid, 'SIGSTOP');
    try {
      await worker.kill();
    } finally {
      process.kill(serverPid, 'SIGCONT');
    }
    return id;
  };
  const finish = async (id: string): Promise<RunRow> => {
    const worker = await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts('127.0.0.1') } });
    try {
      return await fixture.eventually('recovery', id, isFinal, stepLimitMs * 2);
    } finally {
      await worker.stop();
    }
  };
  const scratchDatabases = async (): Promise<string[]> => (await mariadb.query("SHOW DATABASES LIKE 'holdfast%'")).flat();
  const tableFile = (database: string, table: string): string => join(mariadb.folder, 'data', database, `${table}.ibd`);

  beforeAll(async () => {
    mariadb = stack.use(await startTestMariadb());
    redis = stack.use(await startTestRedisServer());
    fixture = stack.use(await openWorkerFixture('postgresql'));
    const made = tables.map(
      (name) => `CREATE TABLE ${name} (id INT PRIMARY KEY, note TEXT) ENGINE=InnoDB;
        INSERT INTO ${name} SELECT seq, REPEAT(MD5(CONCAT('${name}', seq)), 8) FROM seq_1_to_40000;`,
    );
    await mariadb.query(`CREATE DATABASE shop; USE shop; ${made.join('\n')}`);
    content = await contentOf('shop');
    await redis.command('DEBUG', 'POPULATE', String(keyCount), 'key', '100');
    const sqlitePath = join(fixture.folder, 'source', 'shop.db');
    const db = new DatabaseSync(sqlitePath);
    db.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3)');
    db.close();
    const parts = [
      { name: 'db', kind: 'sqlite', path: sqlitePath },
      { name: 'bank', kind: 'mysql', connection: publicOf(mariadb.connection), databases: ['shop'] },
      { name: 'cache', kind: 'redis', connection: publicOf(redis.connection) },
    ];
    const configId = await fixture.createConfig({
      backupType: 'application_data',
      source: parseSourceOptions({ type: 'application_data', parts }),
      partPasswords: {
        bank: { place: mysqlPlace(mariadb.connection), password: mariadb.connection.password },
        cache: { place: redisPlace(redis.connection), password: redis.connection.password },
      },
    });
    const worker = await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts('127.0.0.1') } });
    backupJobId = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', backupJobId, isFinal, stepLimitMs)).toMatchObject({ status: 'completed' });
    await worker.stop();
  }, limitMs);
  afterAll(() => stack.disposeAsync(), limitMs);

  test('in mid-filling of a new database: made anew by the next attempt', { timeout: limitMs }, async () => {
    const id = await killAt(
      mariadb.pid,
      () => submit(bank('again'), mariadb.connection.password),
      async () => await until('the second table', () => existsSync(tableFile('again', 'b'))),
    );
    expect((await mariadb.query("SHOW TABLES FROM again LIKE 'c'")).flat()).toEqual([]);
    expect(await scratchDatabases()).toEqual([`holdfast_${id}`]);
    expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
    expect(await contentOf('again')).toEqual(content);
    expect(await scratchDatabases()).toEqual([]);
  });

  test('in mid-loading beside a database in use: that is untouched, and then replaced', { timeout: limitMs }, async () => {
    await mariadb.query('CREATE DATABASE used; CREATE TABLE used.mine (a INT); INSERT INTO used.mine VALUES (7)');
    const id = await killAt(
      mariadb.pid,
      () => submit(bank('used'), mariadb.connection.password, { overwrite: true }),
      async (run) => await until('the second table', () => existsSync(tableFile(`holdfast_${run}`, 'b'))),
    );
    expect(await mariadb.query('SELECT a FROM used.mine')).toEqual([['7']]);
    expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
    expect(await contentOf('used')).toEqual(content);
    expect((await mariadb.query('SHOW TABLES FROM used')).flat()).toEqual([...tables]);
    expect(await scratchDatabases()).toEqual([]);
  });

  describe('when all is there and nobody knows it yet', () => {
    const killAtTheEnd = async (begin: () => Promise<string>): Promise<string> => {
      const { client } = fixture.database.db;
      await client.$executeRawUnsafe(`CREATE FUNCTION hold_end() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(${heldLock}); RETURN NEW; END $$`);
      await client.$executeRawUnsafe(`CREATE TRIGGER hold_end BEFORE UPDATE ON recovery_jobs FOR EACH ROW
        WHEN (NEW.status::text = 'completed' AND OLD.status::text <> 'completed') EXECUTE FUNCTION hold_end()`);
      const waiting = async (): Promise<boolean> => {
        const rows: unknown[] = await client.$queryRawUnsafe("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
        return rows.length > 0;
      };
      try {
        return await client.$transaction(
          async (held) => {
            await held.$executeRawUnsafe(`SELECT pg_advisory_xact_lock(${heldLock})`);
            return await killAt(mariadb.pid, begin, async () => await until('the end of the run', waiting));
          },
          { timeout: stepLimitMs * 2 },
        );
      } finally {
        await client.$executeRawUnsafe('DROP FUNCTION hold_end CASCADE');
      }
    };

    test('a database: the next attempt ends well, with the same content', { timeout: limitMs }, async () => {
      const id = await killAtTheEnd(() => submit(bank('told'), mariadb.connection.password));
      expect(await contentOf('told')).toEqual(content);
      expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
      expect(await contentOf('told')).toEqual(content);
      expect(await scratchDatabases()).toEqual([]);
    });

    test("a SQLite database: the next attempt does not take it for somebody else's", { timeout: limitMs }, async () => {
      const path = join(fixture.folder, 'target', 'again.db');
      const begin = () => enqueue({ targetLocation: path, options: { sqlite: { part: 'db', path } } });
      const id = await killAtTheEnd(begin);
      expect(existsSync(path)).toBe(true);
      expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
      const db = new DatabaseSync(path, { readOnly: true });
      expect(db.prepare('SELECT count(*) AS n FROM orders').get()).toEqual({ n: 3 });
      db.close();
      expect(await finish(await begin())).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
    });

    test("a table in a database in use: the next attempt does not take it for somebody else's", { timeout: limitMs }, async () => {
      await mariadb.query('CREATE DATABASE busy; CREATE TABLE busy.mine (a INT)');
      const table = bank('busy', { table: 'b', as: 'b then' });
      const id = await killAtTheEnd(() => submit(table, mariadb.connection.password, {}, 'selective'));
      expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
      expect((await mariadb.query('SHOW TABLES FROM busy')).flat()).toEqual(['b then', 'mine']);
      expect(await mariadb.query('SELECT COUNT(*), SUM(CRC32(CONCAT(id, note))) FROM busy.`b then`')).toEqual([content[1]]);
      expect(await scratchDatabases()).toEqual([]);
    });
  });

  test(
    'with some of the keys in Redis: the next attempt brings all of them, though the server holds keys',
    { timeout: limitMs },
    async () => {
      await using target = await startTestRedisServer();
      const size = async (): Promise<number> => Number(await target.command('DBSIZE'));
      const cache = { kind: 'redis', part: 'cache', connection: publicOf(target.connection) };
      const id = await killAt(
        target.pid,
        () => submit(cache, target.connection.password),
        async () => await until('keys', async () => (await size()) > 0),
      );
      const held = await size();
      expect(held).toBeGreaterThan(0);
      expect(held).toBeLessThan(keyCount);
      await target.command('SET', 'key:0', 'written since');
      await target.command('SET', 'own', 'stays');
      expect(await finish(id)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
      expect(String(await target.command('GET', 'own'))).toBe('stays');
      await target.command('DEL', 'own');
      // The key that was written meanwhile is that of the backup again.
      expect(await target.command('DEBUG', 'DIGEST')).toEqual(await redis.command('DEBUG', 'DIGEST'));
    },
  );
});
