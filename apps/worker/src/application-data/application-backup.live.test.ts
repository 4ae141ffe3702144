import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { requestCancel } from '@holdfast/database/runs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';
import { readShop, startShopApp, writeHook, type ShopApp } from './testing/shop-app.ts';

/** An application that takes orders all the time is backed up as one set: SQLite, PostgreSQL and files, frozen by hooks for the moment. */
const missing = missingPostgres(15);
const limitMs = 180_000;

describe.skipIf(missing !== null)(`backups of an application ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let app: ShopApp;
  let stack: AsyncDisposableStack;

  const connection = () => ({ host: server.host, port: server.port, user: server.user, database: 'postgres', tls: { mode: 'disable' } });
  const hook = (name: string, timeoutSeconds = 20) => ({ kind: 'program', name, timeoutSeconds });
  const source = (hooks: object | null = {}, parts: readonly object[] = []) => ({
    type: 'application_data',
    parts: [
      { name: 'uploads', kind: 'paths', paths: [app.uploads] },
      { name: 'db', kind: 'sqlite', path: app.sqlitePath, check: 'full' },
      { name: 'pg', kind: 'postgresql', connection: connection(), databases: ['orders'] },
      ...parts,
    ],
    ...(hooks === null ? {} : { hooks: { freeze: hook('freeze-shop'), thaw: hook('thaw-shop'), ...hooks } }),
  });
  const makeConfig = (wanted: object): Promise<string> =>
    fixture.createConfig({
      backupType: 'application_data',
      source: parseSourceOptions(wanted),
      partPasswords: { pg: { place: connectionPlace(connection()), password: server.password } },
    });
  const workerSettings = () => ({ databaseHosts: parseAllowedHosts('127.0.0.1'), hooksDir: app.hooksDir });
  const jobOf = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const freezes = () => fixture.database.db.client.applicationFreeze.findMany();
  const thawCount = async (): Promise<number> => {
    const path = join(fixture.folder, 'source', 'control', 'thaws');
    return existsSync(path) ? (await readFile(path, 'utf8')).trim().split('\n').length : 0;
  };
  /** The application goes on. */
  const expectOrders = async (): Promise<void> => {
    const before = app.orders();
    await expect.poll(() => app.orders(), { timeout: 10_000 }).toBeGreaterThan(before + 3);
  };
  const expectNothingLeft = async (): Promise<void> => {
    expect(await freezes()).toEqual([]);
    // A copy that a killed worker has left is swept when its run is over.
    const copies = async (): Promise<string[]> => (await readdir(join(fixture.folder, 'scratch'))).filter((name) => /-\d+$/u.test(name));
    await expect.poll(copies, { timeout: 10_000 }).toEqual([]);
  };
  const backUp = async (wanted: object): Promise<{ id: string; row: RunRow }> => {
    const id = await fixture.submitBackup(await makeConfig(wanted));
    return { id, row: await fixture.eventually('backup', id, isFinal, 60_000) };
  };
  const recover = async (backupJobId: string, input: object): Promise<RunRow> => {
    const whole = { backupJobId, recoveryType: 'full' as const, options: {}, execute: true, targetLocation: '', ...input };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', whole));
    await fixture.queues.enqueueRun('recovery', id);
    return await fixture.eventually('recovery', id, isFinal, 60_000);
  };
  const recoverFiles = async (backupJobId: string, name: string): Promise<string> => {
    const targetLocation = join(fixture.folder, 'target', name);
    expect(await recover(backupJobId, { targetLocation })).toMatchObject({ status: 'completed', errorMessage: null });
    return targetLocation;
  };
  const recoverDatabase = async (backupJobId: string, database: string): Promise<void> => {
    const target = { part: 'pg', connection: connection(), database };
    const targetLocation = `postgresql://${connectionPlace(target.connection)}/${database}`;
    const targetPassword = { password: server.password, masterKey: parseMasterKey(fixture.environment['HOLDFAST_MASTER_KEY'] ?? '') };
    const row = await recover(backupJobId, { targetLocation, options: { database: target }, targetPassword });
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
  };
  /** Each order is in all three places or in none. */
  const expectOneMoment = async (backupJobId: string, name: string): Promise<number> => {
    const target = await recoverFiles(backupJobId, name);
    await recoverDatabase(backupJobId, name);
    const found = await readShop(join(target, 'application-data/db/shop.db'), server, name, join(target, app.uploads));
    expect(found.sqlite.length).toBeGreaterThan(0);
    expect(found.postgresql).toEqual(found.sqlite);
    expect(found.files).toEqual(found.sqlite);
    return found.sqlite.length;
  };

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    server = stack.use(await startTestPostgres({ major: 15 }));
    fixture = stack.use(await openWorkerFixture('postgresql'));
    app = stack.use(await startShopApp(join(fixture.folder, 'source'), server));
  }, limitMs);
  afterEach(() => stack.disposeAsync(), limitMs);

  test('are of one moment while orders come in, and hold up the application only for it', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    await expect.poll(() => app.orders()).toBeGreaterThan(20);
    const { id, row } = await backUp(source());
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    await expectOrders();
    expect(await thawCount()).toBe(1);
    await expectNothingLeft();
    const { metadata } = await jobOf(id);
    expect(metadata).toMatchObject({
      hooks: { freezeOutput: `frozen for ${id}`, thawOutput: 'thawed by thaw', frozenMs: expect.any(Number) },
      parts: expect.arrayContaining([
        expect.objectContaining({ name: 'db', kind: 'sqlite', facts: expect.objectContaining({ findings: [] }) }),
      ]),
    });
    expect(JSON.stringify(metadata)).not.toContain(server.password);
    const count = await expectOneMoment(id, 'first');
    expect(count).toBeLessThan(app.orders());
    // What is unchanged of the files is not read again, and the next set is whole too.
    const second = await backUp(source());
    expect(second.row).toMatchObject({ status: 'completed' });
    expect(await expectOneMoment(second.id, 'second')).toBeGreaterThan(count);
  });

  test('are restored by hand as README.txt says, with stock programs', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    const { id } = await backUp(source());
    const target = await recoverFiles(id, 'by-hand');
    const readme = await readFile(join(target, 'application-data/README.txt'), 'utf8');
    const commands = readme.split('\n').flatMap((line) => (line.startsWith('     ') ? [line.trim()] : []));
    const [, check = '', remove = '', copy = ''] = commands;
    const place = join(fixture.folder, 'target', 'placed.db');
    const followed = (command: string): string =>
      execFileSync('sh', ['-c', command.replaceAll('TARGET', target).replaceAll(app.sqlitePath, place)], { encoding: 'utf8' });
    // What an earlier database has left.
    await writeFile(place, 'old');
    await writeFile(`${place}-wal`, 'old');
    expect(followed(check).trim()).toBe('ok');
    followed(remove);
    followed(copy);
    expect(existsSync(`${place}-wal`)).toBe(false);
    expect((await readShop(place, server, 'orders', app.uploads)).sqlite.length).toBeGreaterThan(0);
    expect(await readFile(join(target, 'application-data/pg/README.txt'), 'utf8')).toContain('psql');
    const manifest = JSON.parse(await readFile(join(target, 'application-data/manifest.json'), 'utf8')) as { parts: { name: string }[] };
    expect(manifest.parts.map(({ name }) => name)).toEqual(['db', 'pg', 'uploads']);
  });

  test('go into a SQLite database in use, and table by table into PostgreSQL', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    await expect.poll(() => app.orders()).toBeGreaterThan(5);
    const { id } = await backUp(source());
    const path = join(fixture.folder, 'target', 'live.db');
    const user = new DatabaseSync(path);
    stack.defer(() => user.close());
    user.exec('PRAGMA journal_mode = wal; CREATE TABLE before (a)');
    const sqlite = { part: 'db', path };
    const recoverSqlite = (overwrite: boolean) => recover(id, { targetLocation: path, options: { sqlite, overwrite } });
    expect(await recoverSqlite(false)).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
    expect(await recoverSqlite(true)).toMatchObject({ status: 'completed', errorMessage: null });
    const count = Number(user.prepare('SELECT count(*) AS n FROM orders').get()?.['n']);
    expect(count).toBeGreaterThan(0);
    const outside = { part: 'db', path: app.sqlitePath };
    expect(await recover(id, { targetLocation: app.sqlitePath, options: { sqlite: outside, overwrite: true } })).toMatchObject({
      status: 'failed',
      errorCode: 'path_outside_roots',
    });
    await server.query('CREATE DATABASE used');
    const target = { part: 'pg', connection: connection(), database: 'used', tables: ['public.orders'] };
    const targetPassword = { password: server.password, masterKey: parseMasterKey(fixture.environment['HOLDFAST_MASTER_KEY'] ?? '') };
    const targetLocation = `postgresql://${connectionPlace(target.connection)}/used`;
    const row = await recover(id, { recoveryType: 'selective', targetLocation, options: { database: target }, targetPassword });
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    const [counted] = await server.query<{ n: string }>('SELECT count(*) AS n FROM orders', { database: 'used' });
    expect(Number(counted?.n)).toBe(count);
    await expectNothingLeft();
  });

  test('thaw the application after kill -9 in the middle, and the next attempt is whole', { timeout: limitMs }, async () => {
    // Frozen until it is killed: the hook says that it stands still, and takes its time.
    await writeHook(app.hooksDir, 'slow-freeze', `"${app.hooksDir}/freeze-shop"\nif [ ! -e "${app.hooksDir}/killed" ]; then sleep 30; fi`);
    const configId = await makeConfig(source({ freeze: hook('slow-freeze', 40) }));
    let id: string;
    {
      await using worker = await startWorkerProcess(fixture, {
        HOLDFAST_DATABASE_HOSTS: '127.0.0.1',
        HOLDFAST_HOOKS_DIR: app.hooksDir,
      });
      id = await fixture.submitBackup(configId);
      await expect.poll(() => app.isFrozen(), { timeout: 30_000 }).toBe(true);
      await worker.kill();
    }
    expect(app.isFrozen()).toBe(true);
    expect(await freezes()).toMatchObject([{ id }]);
    await writeFile(join(app.hooksDir, 'killed'), '');
    await fixture.startWorker({ config: workerSettings(), timing: { sweepMs: 300 } });
    await expectOrders();
    expect(await fixture.eventually('backup', id, isFinal, 90_000)).toMatchObject({ status: 'completed', attempt: 2 });
    expect(await thawCount()).toBeGreaterThanOrEqual(2);
    await expectNothingLeft();
    await expectOneMoment(id, 'killed');
  });

  describe('that fail', () => {
    const expectFailed = async (wanted: object, code: string, words: string): Promise<void> => {
      const { row } = await backUp(wanted);
      expect(row).toMatchObject({ status: 'failed', errorCode: code, errorMessage: expect.stringContaining(words) });
      await expectOrders();
      await expectNothingLeft();
    };
    beforeEach(() => fixture.startWorker({ config: workerSettings() }));

    test('because of a hook leave the application thawed', { timeout: limitMs }, async () => {
      await writeHook(app.hooksDir, 'half-freeze', `"${app.hooksDir}/freeze-shop"\necho "password=hunter2 is not taken" >&2\nexit 7`);
      await writeHook(app.hooksDir, 'hanging', `"${app.hooksDir}/freeze-shop"\nsleep 1000 & sleep 1000`);
      const id = await fixture.submitBackup(await makeConfig(source({ freeze: hook('half-freeze') })));
      await expect.poll(async () => (await jobOf(id)).errorMessage ?? '', { timeout: 60_000 }).toContain('ended with code 7');
      expect((await jobOf(id)).errorMessage).not.toContain('hunter2');
      await expectOrders();
      const hung = await fixture.submitBackup(await makeConfig(source({ freeze: hook('hanging', 1) })));
      await expect.poll(async () => (await jobOf(hung)).errorMessage ?? '', { timeout: 60_000 }).toContain('ran for more than 1 s');
      await expectOrders();
      expect(execFileSync('sh', ['-c', "ps -eo args= | grep -c '[s]leep 1000' || true"], { encoding: 'utf8' }).trim()).toBe('0');
      await expectFailed(source({ freeze: hook('missing') }), 'hook_not_found', 'missing');
    });

    test('because somebody else has thawed the application are tried again', { timeout: limitMs }, async () => {
      await writeHook(app.hooksDir, 'slow-freeze', `"${app.hooksDir}/freeze-shop"\nif [ ! -e "${app.hooksDir}/stolen" ]; then sleep 3; fi`);
      const id = await fixture.submitBackup(await makeConfig(source({ freeze: hook('slow-freeze') })));
      await expect.poll(() => app.isFrozen(), { timeout: 30_000 }).toBe(true);
      await writeFile(join(app.hooksDir, 'stolen'), '');
      await fixture.database.db.client.applicationFreeze.delete({ where: { id } });
      await expect.poll(async () => (await jobOf(id)).errorMessage ?? '', { timeout: 60_000 }).toContain('thawed by somebody else');
      expect((await jobOf(id)).snapshotId).toBeNull();
      // It stands still, and its note is gone: what whoever took the note would do.
      await rm(join(fixture.folder, 'source', 'control', 'freeze'));
      await expectOrders();
    });

    test('because a server is down freeze nothing', { timeout: limitMs }, async () => {
      const down = { name: 'down', kind: 'postgresql', connection: { ...connection(), port: await closedPort() } };
      const id = await fixture.submitBackup(await makeConfig(source({}, [down])));
      await expect.poll(async () => (await jobOf(id)).errorMessage ?? '', { timeout: 60_000 }).toContain('127.0.0.1');
      expect(await thawCount()).toBe(0);
      await expectOrders();
    });

    test('because a part is not there freeze nothing', { timeout: limitMs }, async () => {
      const gone = { name: 'gone', kind: 'sqlite', path: join(fixture.folder, 'source', 'gone.db') };
      await expectFailed(source({}, [gone]), 'path_not_found', 'gone.db');
      expect(await thawCount()).toBe(0);
    });

    test('because the moment takes too long are thawed when the time is over', { timeout: limitMs }, async () => {
      const owner = new DatabaseSync(join(fixture.folder, 'source', 'locked.db'));
      owner.exec('CREATE TABLE t (a)');
      owner.exec('BEGIN EXCLUSIVE');
      const locked = { name: 'locked', kind: 'sqlite', path: join(fixture.folder, 'source', 'locked.db'), patienceSeconds: 60 };
      const id = await fixture.submitBackup(await makeConfig(source({ maxFrozenSeconds: 2 }, [locked])));
      await expect.poll(async () => (await jobOf(id)).errorMessage ?? '', { timeout: 60_000 }).toContain('frozen for 2 s');
      owner.close();
      await expectOrders();
    });

    test('to be thawed complete with a warning and an event, and are thawed later', { timeout: limitMs }, async () => {
      await writeHook(
        app.hooksDir,
        'stuck-thaw',
        `if [ ! -e "${app.hooksDir}/mended" ]; then echo "no way" >&2; exit 3; fi\n"${app.hooksDir}/thaw-shop"`,
      );
      const { id, row } = await backUp(source({ thaw: hook('stuck-thaw') }));
      expect(row).toMatchObject({ status: 'completed_with_warnings' });
      expect((await jobOf(id)).metadata).toMatchObject({ warnings: [expect.stringContaining('could not be thawed')] });
      const events = await fixture.database.db.client.event.findMany({ where: { subjectId: id, type: 'backup.thaw_failed' } });
      expect(events).toMatchObject([{ data: { message: expect.stringContaining('no way') } }]);
      expect(app.isFrozen()).toBe(true);
      await writeFile(join(app.hooksDir, 'mended'), '');
      await fixture.database.db.client.applicationFreeze.update({ where: { id }, data: { retryAt: new Date() } });
      await expectOrders();
      expect(await freezes()).toEqual([]);
    });
  });

  test('that are cancelled are thawed', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    await writeHook(app.hooksDir, 'slow-freeze', `"${app.hooksDir}/freeze-shop"\nsleep 30`);
    const id = await fixture.submitBackup(await makeConfig(source({ freeze: hook('slow-freeze', 40) })));
    await expect.poll(() => app.isFrozen(), { timeout: 30_000 }).toBe(true);
    await requestCancel(fixture.database.db, 'backup', id);
    expect(await fixture.eventually('backup', id, isFinal, 30_000)).toMatchObject({ status: 'cancelled' });
    await expectOrders();
    await expectNothingLeft();
  });

  test('keep a symlink from leading out, and two parts from sharing a file', { timeout: limitMs }, async () => {
    await fixture.startWorker({ config: workerSettings() });
    await mkdir(join(fixture.folder, 'source', 'inner'));
    const shared = { name: 'shared', kind: 'paths', paths: [join(fixture.folder, 'source')] };
    const { row } = await backUp(source({}, [shared]));
    expect(row).toMatchObject({ status: 'failed', errorCode: 'request_invalid', errorMessage: expect.stringContaining('uploads') });
  });
});

/** Where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await listening;
  const address = server.address();
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  server.close(() => onClosed());
  await closed;
  return typeof address === 'object' && address !== null ? address.port : 0;
}
