import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { mysqlPlace } from '@holdfast/sources/mysql/connection-options';
import { missingMariadb, startTestMariadb, type TestMariadb } from '@holdfast/sources/mysql/testing/test-mariadb';
import { redisPlace } from '@holdfast/sources/redis/connection-options';
import { missingRedisServer, startTestRedisServer, type TestRedisServer } from '@holdfast/sources/redis/testing/test-redis-server';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';

/** An application with its rows in two databases of MariaDB and its keys in Redis is backed up while it works. */
const missing = missingMariadb() ?? missingRedisServer();
const limitMs = 180_000;
const accountCount = 200;

describe.skipIf(missing !== null)(`backups of an application with MariaDB and Redis ${missing ?? ''}`, () => {
  let mariadb: TestMariadb;
  let redis: TestRedisServer;
  let fixture: WorkerFixture;
  let stack: AsyncDisposableStack;
  let writing: { stop(): Promise<void> };

  const stored = ({ host, port, tls, user }: { host: string; port: number; tls: object; user?: string | undefined }) => ({
    host,
    port,
    tls,
    ...(user === undefined ? {} : { user }),
  });
  const makeConfig = (more: object = {}): Promise<string> =>
    fixture.createConfig({
      backupType: 'application_data',
      source: parseSourceOptions({
        type: 'application_data',
        parts: [
          { name: 'bank', kind: 'mysql', connection: stored(mariadb.connection), databases: ['east', 'west'], ...more },
          { name: 'cache', kind: 'redis', connection: stored(redis.connection) },
        ],
      }),
      partPasswords: {
        bank: { place: mysqlPlace(mariadb.connection), password: mariadb.connection.password },
        cache: { place: redisPlace(redis.connection), password: redis.connection.password },
      },
    });
  const jobOf = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const recover = async (backupJobId: string, input: object): Promise<RunRow & { id: string }> => {
    const whole = { backupJobId, recoveryType: 'full' as const, options: {}, execute: true, targetLocation: '', ...input };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', whole));
    await fixture.queues.enqueueRun('recovery', id);
    return { id, ...(await fixture.eventually('recovery', id, isFinal, 60_000)) };
  };
  const recoverFiles = async (backupJobId: string): Promise<string> => {
    const targetLocation = join(fixture.folder, 'target', backupJobId);
    expect(await recover(backupJobId, { targetLocation })).toMatchObject({ status: 'completed', errorMessage: null });
    return join(targetLocation, 'application-data');
  };
  /** The sum of all balances, in both databases, never changes; nor do two keys that are written at once ever differ. */
  const expectOneMoment = async (backupJobId: string): Promise<void> => {
    const folder = await recoverFiles(backupJobId);
    const texts = await Promise.all(
      ['east', 'west'].map((name) => readFile(join(folder, 'bank/databases', name, 'tables/00001.accounts.sql'), 'utf8')),
    );
    const balances = [...texts.join('').matchAll(/^\((\d+),(-?\d+)\)/gmu)].map((match) => Number(match[2]));
    expect(balances).toHaveLength(2 * accountCount);
    expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(2 * accountCount * 1000);
    await using copy = await startTestRedisServer({ dump: await readFile(join(folder, 'cache/dump.rdb')) });
    const [a, b] = [await copy.command('GET', 'pair:a'), await copy.command('GET', 'pair:b')].map(String);
    expect(a).toMatch(/^\d+$/u);
    expect(b).toBe(a);
    expect(await copy.command('DBSIZE')).toBe(5002);
  };

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    mariadb = stack.use(await startTestMariadb({ settings: ['--log-bin=bin', '--server-id=1'] }));
    redis = stack.use(await startTestRedisServer());
    fixture = stack.use(await openWorkerFixture('postgresql'));
    await mariadb.query(`CREATE DATABASE east; CREATE DATABASE west; USE east; CREATE TABLE accounts (id INT PRIMARY KEY, balance INT);
      CREATE TABLE west.accounts LIKE accounts; INSERT INTO accounts SELECT seq, 1000 FROM seq_1_to_${accountCount};
      INSERT INTO west.accounts SELECT * FROM accounts;`);
    for (let i = 0; i < 5000; i++) await redis.command('SET', `key:${i}`, `value ${i}`);
    writing = startWriting(mariadb, redis);
  }, limitMs);
  afterEach(async () => {
    await writing?.stop();
    await stack.disposeAsync();
  }, limitMs);
  const workerSettings = () => ({ databaseHosts: parseAllowedHosts('127.0.0.1') });

  test('are of one moment each, under writes, and tell of what they are', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    for (let round = 0; round < 2; round++) {
      const id = await fixture.submitBackup(await makeConfig());
      expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed', errorMessage: null });
      const { metadata } = await jobOf(id);
      expect(metadata).toMatchObject({
        parts: [
          { name: 'bank', kind: 'mysql', facts: { server: 'MariaDB', consistency: 'transaction', position: { file: 'bin.000001' } } },
          { name: 'cache', kind: 'redis', facts: { server: 'redis', checksum: 'verified', keysBefore: { db0: { expires: 0 } } } },
        ],
      });
      for (const secret of ['secret', redis.connection.password]) expect(JSON.stringify(metadata)).not.toContain(secret);
      await expectOneMoment(id);
    }
  });

  test('are recovered into servers that run: a database, a table, keys', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    const id = await fixture.submitBackup(await makeConfig());
    expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
    await writing.stop();
    const masterKey = parseMasterKey(fixture.environment['HOLDFAST_MASTER_KEY'] ?? '');
    const into = (target: object, more: object = {}, password = mariadb.connection.password) =>
      recover(id, {
        targetLocation: JSON.stringify(target).slice(0, 80),
        options: { server: target },
        targetPassword: { password, masterKey },
        ...more,
      });
    const bank = { kind: 'mysql', part: 'bank', connection: stored(mariadb.connection) };
    const east = { ...bank, sourceDatabase: 'east', database: 'east_again' };
    expect(await into(east)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await into(east)).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
    expect(
      await into(
        { ...bank, sourceDatabase: 'west', database: 'west', table: 'accounts', as: 'accounts_then' },
        { recoveryType: 'selective' },
      ),
    ).toMatchObject({
      status: 'completed',
    });
    const sum = 'SELECT SUM(balance), COUNT(*) FROM (SELECT * FROM east_again.accounts UNION ALL SELECT * FROM west.accounts_then) a';
    expect(await mariadb.query(sum)).toEqual([[String(2 * accountCount * 1000), String(2 * accountCount)]]);

    await using target = await startTestRedisServer();
    const cache = { kind: 'redis', part: 'cache', connection: stored(target.connection) };
    expect(await into(cache, {}, target.connection.password)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await target.command('DBSIZE')).toBe(5002);
    expect(await target.command('GET', 'pair:a')).toEqual(await target.command('GET', 'pair:b'));
    expect(await into(cache, {}, target.connection.password)).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
    const row = await into(east, { options: { server: { ...east, connection: { ...east.connection, host: '127.0.0.2' } } } });
    expect(row).toMatchObject({ status: 'failed', errorCode: 'mysql_host_not_allowed' });
  });

  test('are whole after kill -9 in the middle, with no password left in any folder', { timeout: limitMs }, async () => {
    // The copy takes until it is killed.
    await redis.command('CONFIG', 'SET', 'rdb-key-save-delay', '20000');
    let id: string;
    {
      await using worker = await startWorkerProcess(fixture, { HOLDFAST_DATABASE_HOSTS: '127.0.0.1' });
      id = await fixture.submitBackup(await makeConfig());
      await expect
        .poll(async () => String(await redis.command('INFO', 'replication')), { timeout: 30_000 })
        .toContain('connected_slaves:1');
      await worker.kill();
    }
    await redis.command('CONFIG', 'SET', 'rdb-key-save-delay', '0');
    await fixture.startWorker({ config: workerSettings(), timing: { sweepMs: 300 } });
    expect(await fixture.eventually('backup', id, isFinal, 90_000)).toMatchObject({ status: 'completed', attempt: 2 });
    await expectOneMoment(id);
    const scratch = (): Promise<string[]> =>
      readdir(join(fixture.folder, 'scratch')).then((names) => names.filter((name) => /-\d+$/u.test(name)));
    await expect.poll(scratch, { timeout: 10_000 }).toEqual([]);
  });

  test('fail with the code of what is wrong, before anything is read', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    const failed = async (configId: string): Promise<RunRow> =>
      await fixture.eventually('backup', await fixture.submitBackup(configId), isFinal, 60_000);
    expect(await failed(await makeConfig({ databases: ['east', 'gone'] }))).toMatchObject({
      status: 'failed',
      errorCode: 'mysql_not_found',
    });
    await writing.stop();
    await mariadb.query("SET PASSWORD FOR boss@'127.0.0.1' = PASSWORD('another one')");
    expect(await failed(await makeConfig())).toMatchObject({ status: 'failed', errorCode: 'mysql_login_failed' });
  });

  test('warn of tables that are not of the moment', { timeout: limitMs }, async () => {
    await mariadb.query('CREATE TABLE east.log (a INT) ENGINE=MyISAM');
    await fixture.startWorker({ config: workerSettings() });
    const id = await fixture.submitBackup(await makeConfig());
    expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed_with_warnings' });
    expect((await jobOf(id)).metadata).toMatchObject({ warnings: [expect.stringContaining('east.log (MyISAM)')] });
  });
});

/** Money moves between the two databases, and two keys go up together, without a pause. */
function startWriting(mariadb: TestMariadb, redis: TestRedisServer): { stop(): Promise<void> } {
  const over = new AbortController();
  const transfers = Array.from({ length: 30 }, (_, i) => {
    const [from, to] = i % 2 === 0 ? ['east', 'west'] : ['west', 'east'];
    return `START TRANSACTION; UPDATE ${from}.accounts SET balance = balance - ${i} WHERE id = ${1 + i * 6};
      UPDATE ${to}.accounts SET balance = balance + ${i} WHERE id = ${accountCount - i * 6}; COMMIT;`;
  }).join('\n');
  const moveMoney = async (): Promise<void> => {
    while (!over.signal.aborted) await mariadb.query(transfers);
  };
  const raisePair = async (): Promise<void> => {
    for (let i = 0; !over.signal.aborted; i++) await redis.command('MSET', 'pair:a', String(i), 'pair:b', String(i));
  };
  const all = Promise.all([moveMoney(), raisePair()]);
  all.catch(() => undefined);
  return {
    stop: async () => {
      over.abort();
      await all;
    },
  };
}
