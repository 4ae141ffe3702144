import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '@holdfast/engine/clock';
import { cleanupSchedulerId, listSchedulers } from '@holdfast/jobs/schedulers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunWork } from './run-with-claim.ts';
import { backends, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

const work: RunWork<'backup'> = async () => ({
  status: 'completed',
  result: { snapshotId: 'a'.repeat(64), filePath: 'x', fileSize: 1n, checksum: 'b'.repeat(64), metadata: {} },
});

describe.each(backends)('schedules on %s', (backend) => {
  let fixture: WorkerFixture;
  let configId: string;

  const jobs = () =>
    fixture.database.db.client.backupJob.findMany({ where: { backupConfigId: configId }, orderBy: { scheduledFor: 'asc' } });
  const schedulers = async () => (await listSchedulers(fixture.queues)).filter(({ id }) => id !== cleanupSchedulerId);
  const setConfig = (data: { schedule?: string | null; isActive?: boolean }) =>
    fixture.database.db.client.backupConfig.update({ where: { id: configId }, data });

  beforeAll(async () => {
    fixture = await openWorkerFixture(backend);
    configId = await fixture.createConfig({ schedule: '*/2 * * * * *', timeZone: 'Europe/Berlin' });
    // Two at once: each tick must make one row all the same.
    await fixture.startWorker({ works: { backup: work } });
    await fixture.startWorker({ works: { backup: work } });
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('tick, and each tick makes one backup that is done', async () => {
    await expect.poll(async () => (await jobs()).length, { timeout: 15_000 }).toBeGreaterThanOrEqual(3);
    const made = await jobs();
    expect(new Set(made.map((job) => job.scheduledFor?.getTime())).size).toBe(made.length);
    expect(made.every((job) => job.trigger === 'schedule' && (job.scheduledFor?.getTime() ?? 1) % 2_000 === 0)).toBe(true);
    await expect.poll(async () => (await jobs())[0]?.status).toBe('completed');
    expect(await schedulers()).toMatchObject([
      { id: configId, pattern: '*/2 * * * * *', timeZone: 'Europe/Berlin', payload: { configId } },
    ]);
  });

  test('go on after the queue was wiped', async () => {
    const before = (await jobs()).length;
    if (fixture.redis === null) await fixture.queues.byName.schedule.obliterate({ force: true });
    else await fixture.redis.flushAll();
    await expect.poll(async () => (await jobs()).length, { timeout: 15_000 }).toBeGreaterThan(before);
  });

  test('that are changed are replaced', async () => {
    await setConfig({ schedule: '0 5 * * *' });
    await expect.poll(async () => (await schedulers())[0]?.pattern, { timeout: 5_000 }).toBe('0 5 * * *');
    const before = (await jobs()).length;
    await delay(2_500);
    expect((await jobs()).length).toBeLessThanOrEqual(before + 1);
  });

  test('of a config that is turned off end', async () => {
    await setConfig({ isActive: false });
    await expect.poll(schedulers, { timeout: 5_000 }).toEqual([]);
  });
});

describe('a tick that nobody was there for', () => {
  let fixture: WorkerFixture;
  beforeAll(async () => {
    fixture = await openWorkerFixture(backends[0] ?? 'postgresql');
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('is made up for by one backup, however many were missed', async () => {
    const configId = await fixture.createConfig({ schedule: '*/10 * * * *' });
    const clock = { ...systemClock, now: () => new Date(Date.now() + 3 * 3600 * 1000) };
    await fixture.startWorker({ works: { backup: work }, clock });
    const jobs = () => fixture.database.db.client.backupJob.findMany({ where: { backupConfigId: configId } });
    await expect.poll(async () => (await jobs()).map((job) => job.status), { timeout: 5_000 }).toEqual(['completed']);
    await delay(1_000);
    expect((await jobs()).length).toBe(1);
  });

  test('is not made up for when the config is younger than the tick', async () => {
    const configId = await fixture.createConfig({ schedule: '0 0 1 1 *' });
    await fixture.startWorker({ works: { backup: work } });
    await delay(1_500);
    expect(await fixture.database.db.client.backupJob.count({ where: { backupConfigId: configId } })).toBe(0);
  });
});

describe('the schedule of cleanups', () => {
  let fixture: WorkerFixture;
  beforeAll(async () => {
    fixture = await openWorkerFixture(backends[0] ?? 'postgresql');
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('makes one cleanup a tick for each repository', async () => {
    await fixture.createConfig();
    await fixture.startWorker({ config: { cleanupSchedule: '*/2 * * * * *' } });
    const jobs = () => fixture.database.db.client.cleanupJob.findMany({ orderBy: { scheduledFor: 'asc' } });
    await expect.poll(async () => (await jobs()).length, { timeout: 10_000 }).toBeGreaterThanOrEqual(2);
    const made = await jobs();
    expect(new Set(made.map((job) => job.scheduledFor?.getTime())).size).toBe(made.length);
    await expect.poll(async () => (await jobs())[0]?.status).toBe('completed');
  });
});
