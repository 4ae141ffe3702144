import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { followMysqlReadme } from '@holdfast/sources/mysql/testing/readme-followed';
import { missingMariadb, startTestMariadb, type TestMariadb } from '@holdfast/sources/mysql/testing/test-mariadb';
import { followRedisReadme } from '@holdfast/sources/redis/testing/readme-followed';
import { missingRedisServer, startTestRedisServer } from '@holdfast/sources/redis/testing/test-redis-server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import type { RunningProcess } from './harness/child-process.ts';
import { eventually } from './harness/eventually.ts';
import { ordersUpTo, readOrders, startOrderApp, type OrderApp, type OrderSet } from './harness/order-app.ts';
import { checkWithRestic } from './harness/restic.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

const missing = missingMariadb() ?? missingRedisServer();
const takeoverTimeoutMs = 150_000;
const stepTimeoutMs = 60_000;

// An application with its data in four places is backed up while it takes orders. What comes back are the same orders in all of them.
describe.skipIf(missing !== null)(`an application in four places ${missing ?? ''}`, () => {
  const stack = new AsyncDisposableStack();
  let place: string;
  let system: System;
  let app: OrderApp;
  let tenant: Tenant;
  let configId: string;
  /** Where recoveries go. */
  let fresh: TestMariadb;

  beforeAll(async () => {
    place = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-application-')));
    stack.defer(() => rm(place, { recursive: true, force: true }));
    await chmod(place, 0o755);
    app = stack.use(await startOrderApp(place));
    fresh = stack.use(await startTestMariadb());
    const environment = {
      HOLDFAST_SOURCE_ROOTS: place,
      HOLDFAST_TARGET_ROOTS: place,
      HOLDFAST_DATABASE_HOSTS: '127.0.0.1',
      HOLDFAST_HOOKS_DIR: app.hooksDir,
      HOLDFAST_SHUTDOWN_GRACE_SECONDS: '1',
    };
    system = await startSystem({ queue: 'postgresql', workerCount: 2, environment });
    stack.defer(() => system.stop());
    tenant = await createTenant(system, { name: 'orders', sourcePath: app.places.uploads });
    configId = (await tenant.createConfig(configOf(app))).id;
  });
  afterAll(() => stack.disposeAsync());

  const submit = async (): Promise<string> => (await system.api.post('/jobs', { backupConfigId: configId })).id;
  const finish = (id: string): Promise<Row> => system.api.finished(`/jobs/${id}`, takeoverTimeoutMs);
  /** The application stands still for this job, whose freeze hook does not return. */
  const frozenBy = async (id: string): Promise<RunningProcess> => {
    await eventually('a frozen application', async () => app.isFrozen() || undefined, stepTimeoutMs);
    return await eventually('the worker that froze it', () => system.workerAtWork('backup', id), stepTimeoutMs);
  };
  const expectOrders = async (): Promise<void> => {
    const before = app.orderCount();
    await eventually('more orders', async () => app.orderCount() > before + 5 || undefined, stepTimeoutMs);
  };
  const thawsFor = async (id: string): Promise<number> => (await app.thaws()).filter((each) => each === id).length;
  const recover = async (backupJobId: string, fields: object): Promise<void> => {
    const { id } = await system.api.post('/recovery', { backupJobId, recoveryType: 'full', ...fields });
    expect(await system.api.finished(`/recovery/${id}`)).toMatchObject({ status: 'completed', errorMessage: null });
  };

  /** Into a folder and into servers; gives how many orders are in all four places. */
  const recoverSet = async (backupJobId: string, name: string): Promise<number> => {
    await using cache = await startTestRedisServer();
    const target = join(place, name);
    await recover(backupJobId, { targetLocation: target });
    const bank = { kind: 'mysql', part: 'bank', connection: publicOf(fresh.connection), sourceDatabase: 'shop', database: name };
    await recover(backupJobId, { targetServer: bank, targetPassword: fresh.connection.password });
    const keys = { kind: 'redis', part: 'cache', connection: publicOf(cache.connection) };
    await recover(backupJobId, { targetServer: keys, targetPassword: cache.connection.password });
    return await expectAgreement({
      sqlitePath: join(target, 'application-data/db/shop.db'),
      mariadb: { server: fresh, database: name },
      redis: cache,
      uploads: join(target, app.places.uploads),
    });
  };

  test('is whole in every backup, also in one whose worker is killed while the application stands still', async () => {
    const counts = [app.orderCount()];
    const first = await submit();
    expect(await finish(first)).toMatchObject({ status: 'completed', errorMessage: null, attempt: 1 });
    counts.push(app.orderCount());
    expect(await thawsFor(first)).toBe(1);
    await expectOrders();
    const second = await submit();
    expect(await finish(second)).toMatchObject({ status: 'completed', attempt: 1 });
    expect(await thawsFor(second)).toBe(1);

    await app.linger(true);
    const third = await submit();
    const victim = await frozenBy(third);
    await victim.end('SIGKILL');
    await app.linger(false);
    const stoodAt = app.orderCount();
    expect([app.isFrozen(), await thawsFor(third)]).toEqual([true, 0]);
    // Until somebody comes to it, the other worker gives back an earlier set.
    const found = await recoverSet(first, 'first');
    expect(found).toBeGreaterThanOrEqual(counts[0] ?? 0);
    expect(found).toBeLessThanOrEqual(counts[1] ?? 0);
    expect(await finish(third)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
    expect(await thawsFor(third)).toBeGreaterThanOrEqual(2);
    expect(app.isFrozen()).toBe(false);
    await expectOrders();
    expect(await recoverSet(third, 'third')).toBeGreaterThanOrEqual(stoodAt);
  });

  test('is thawed by a worker that is stopped while the application stands still, before that worker ends', async () => {
    for (const worker of system.workers.slice(1)) await worker.end('SIGKILL');
    const [idle] = system.workers;
    if (idle?.exited() !== false) await system.startWorker();
    await app.linger(true);
    const id = await submit();
    const worker = await frozenBy(id);
    expect(await worker.end('SIGTERM')).toBe(0);
    // It was the only one: nobody else can have done it.
    expect(await thawsFor(id)).toBe(1);
    expect(app.isFrozen()).toBe(false);
    await expectOrders();
    expect(worker.output()).toMatch(/the application is thawed.*worker has stopped/su);
    await app.linger(false);
    await system.startWorker();
    expect(await finish(id)).toMatchObject({ status: 'completed', errorMessage: null, attempt: 2 });
    expect(await thawsFor(id)).toBe(2);
  });

  test('is put back by hand, with stock programs, as README.txt in the snapshot says word for word', async () => {
    const id = await submit();
    const { snapshotId } = await finish(id);
    await app.stop();
    await checkWithRestic(tenant);
    const target = join(place, 'by-hand');
    await mkdir(target);
    const readme = await readmeOf(snapshotId ?? '', tenant);
    const [getOut = '', check = '', remove = '', copy = '', ...more] = readme
      .split('\n')
      .flatMap((line) => /^ {5}(\S.*)$/u.exec(line)?.[1] ?? []);
    expect(more).toEqual([]);
    const words = { REPOSITORY: tenant.repositoryPath, SNAPSHOT: snapshotId ?? '', TARGET: target };
    await follow(getOut, words, { home: place, password: tenant.password });
    expect((await follow(check, words, { home: place })).trim()).toBe('ok');
    // Into its own place, beside which the application has left its -wal.
    expect(existsSync(`${app.places.sqlitePath}-wal`)).toBe(true);
    await follow(remove, words, { home: place });
    await follow(copy, words, { home: place });
    const bank = await followMysqlReadme(join(target, 'application-data/bank'), fresh);
    await bank.restoreDatabase('shop');
    await using cache = await followRedisReadme(join(target, 'application-data/cache'), join(place, 'redis-by-hand'));
    const set = {
      sqlitePath: app.places.sqlitePath,
      mariadb: { server: fresh, database: 'shop' },
      redis: { command: (...command: string[]) => cache.session.command(command) },
      uploads: join(target, app.places.uploads),
    };
    expect(await expectAgreement(set)).toBeGreaterThan(0);
  });
});

/** All four places hold the same orders, none is missing up to the last, and each says what it said. */
async function expectAgreement(set: OrderSet): Promise<number> {
  const found = await readOrders(set);
  const count = found['sqlite']?.length ?? 0;
  expect(count).toBeGreaterThan(0);
  const expected = ordersUpTo(count);
  expect(found).toEqual({ sqlite: expected, mariadb: expected, redis: expected, files: expected });
  return count;
}

/** As a request has it. */
function publicOf({ password: _sent, ...connection }: { readonly password: string }): object {
  return connection;
}

function configOf({ places }: OrderApp): Record<string, unknown> {
  const hook = (name: string) => ({ kind: 'program', name, timeoutSeconds: 120 });
  return {
    backupType: 'application_data',
    source: {
      type: 'application_data',
      parts: [
        { name: 'uploads', kind: 'paths', paths: [places.uploads] },
        { name: 'db', kind: 'sqlite', path: places.sqlitePath, check: 'full' },
        { name: 'bank', kind: 'mysql', connection: publicOf(places.mariadb), databases: ['shop'] },
        { name: 'cache', kind: 'redis', connection: publicOf(places.redis) },
      ],
      hooks: { freeze: hook('freeze-orders'), thaw: hook('thaw-orders'), maxFrozenSeconds: 180 },
    },
    sourcePasswords: { bank: places.mariadb.password, cache: places.redis.password },
  };
}

const resticProgram = process.env['RESTIC_BIN'] ?? 'restic';

async function readmeOf(snapshotId: string, { repositoryPath, password }: Tenant): Promise<string> {
  const args = ['--no-cache', '-r', repositoryPath, 'dump', snapshotId, '/application-data/README.txt'];
  const { stdout } = await promisify(execFile)(resticProgram, args, { env: { ...process.env, RESTIC_PASSWORD: password } });
  return stdout;
}

/** Runs one command of README.txt by a shell, with what it leaves to the reader put in. */
async function follow(
  command: string,
  words: Readonly<Record<string, string>>,
  { home, password = '' }: { home: string; password?: string },
): Promise<string> {
  const script = Object.entries(words).reduce((text, [word, value]) => text.replaceAll(word, value), command);
  const folders = [...(isAbsolute(resticProgram) ? [dirname(resticProgram)] : []), '/usr/local/bin', '/usr/bin', '/bin'];
  const env = { PATH: folders.join(':'), HOME: home, RESTIC_PASSWORD: password };
  const { stdout } = await promisify(execFile)('sh', ['-e', '-c', script], { env });
  return stdout;
}
