import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { labelledQueuesInUse, labelsInUse } from './labels-in-use.ts';
import { claimRun, releaseRun, requestCancel } from './runs.ts';
import { sampleBackup, sampleConfig } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { announceWaiting, waitingAlerts } from './waiting-runs.ts';
import { registerWorker, removeWorker } from './workers.ts';

let database: TestDatabase;
const db = () => database.db;

const backupWith = async (workerLabel: string | null): Promise<{ id: string; businessEntityId: string }> => {
  const { id: backupConfigId } = await sampleConfig(db(), { workerLabel });
  return sampleBackup(db(), { backupConfigId });
};
const comes = (id: string, labels: string[], labelsOnly = false) =>
  registerWorker(db().client, { id, hostname: 'here', pid: 1, labels, labelsOnly });
const eventsOf = async (subjectId: string) => {
  const events = await db().client.event.findMany({ where: { subjectId }, orderBy: { sequence: 'asc' } });
  return events.map(({ type, data }) => ({ type, data }));
};
const typesOf = async (id: string) => (await eventsOf(id)).map(({ type }) => type);
const queuedAt = (id: string, at: Date) => db().client.backupJob.update({ where: { id }, data: { queuedAt: at } });

beforeAll(async () => {
  database = await createTestDatabase();
});
beforeEach(async () => {
  const left = await db().client.backupJob.findMany({ where: { status: 'queued' } });
  for (const { id } of left) await requestCancel(db(), 'backup', id);
  await db().client.workerProcess.deleteMany();
  await db().client.workerLabel.deleteMany();
});
afterAll(() => database[Symbol.asyncDispose]());

describe('runs that wait for a worker', () => {
  test('are told of once, however many look at the same time, and once more when a worker is there', async () => {
    await comes('other', ['other']);
    const { id } = await backupWith('host:db1');
    expect(await announceWaiting(db(), { afterMs: 60_000 })).toEqual({ waitingCount: 0, foundCount: 0 });
    await Promise.all(Array.from({ length: 8 }, () => announceWaiting(db(), { afterMs: 0 })));
    const [, told, ...more] = await eventsOf(id);
    expect(told).toMatchObject({ type: 'backup.waiting_for_worker', data: { status: 'queued', workerLabel: 'host:db1' } });
    expect(told?.data).toMatchObject({ message: expect.stringContaining('no worker with the label host:db1 is alive') as string });
    expect(more).toEqual([]);
    await comes('carrier', ['host:db1']);
    await Promise.all(Array.from({ length: 8 }, () => announceWaiting(db(), { afterMs: 0 })));
    expect(await typesOf(id)).toEqual(['backup.queued', 'backup.waiting_for_worker', 'backup.worker_found']);
    // It goes before it has taken the run: that is told again.
    await removeWorker(db().client, 'carrier');
    await announceWaiting(db(), { afterMs: 0 });
    expect((await typesOf(id)).slice(2)).toEqual(['backup.worker_found', 'backup.waiting_for_worker']);
  });

  test('are not told to have found one when it has taken them: they say so themselves', async () => {
    const { id } = await backupWith('a');
    await announceWaiting(db(), { afterMs: 0 });
    await comes('carrier', ['a']);
    const claim = await claimRun(db(), 'backup', id, { workerId: 'carrier' });
    if (claim === null) throw new Error('not claimed');
    await announceWaiting(db(), { afterMs: 0 });
    expect(await typesOf(id)).toEqual(['backup.queued', 'backup.waiting_for_worker', 'backup.running']);
    await removeWorker(db().client, 'carrier');
    await releaseRun(db(), claim, { code: 'storage_unreachable', message: 'gone' });
    await announceWaiting(db(), { afterMs: 0 });
    expect((await typesOf(id)).slice(3)).toEqual(['backup.retrying', 'backup.waiting_for_worker']);
  });

  test('wait since the last worker for them was gone, and any run does when no worker is there at all', async () => {
    const { id, businessEntityId } = await backupWith('a');
    const { id: plain } = await backupWith(null);
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const run of [id, plain]) await queuedAt(run, hourAgo);
    const alerts = (scope: string[] | '*' = '*', afterMs = 300_000) => waitingAlerts(db().client, scope, afterMs, new Date());
    expect(await alerts()).toEqual([
      { workerLabel: 'a', since: hourAgo, runCount: 1 },
      { workerLabel: null, since: hourAgo, runCount: 1 },
    ]);
    expect(await alerts([businessEntityId])).toEqual([{ workerLabel: 'a', since: hourAgo, runCount: 1 }]);
    expect(await alerts([])).toEqual([]);
    await comes('only', ['a'], true);
    expect((await alerts()).map(({ workerLabel }) => workerLabel)).toEqual([null]);
    await comes('any', []);
    expect(await alerts()).toEqual([]);
    await removeWorker(db().client, 'only');
    expect(await alerts()).toEqual([]);
    const [late] = await alerts('*', 0);
    expect(late?.since.getTime()).toBeGreaterThan(hourAgo.getTime() + 3_000_000);
    // Silent for longer than a worker that is alive ever is.
    await db().client.workerProcess.updateMany({ data: { heartbeatAt: new Date(Date.now() - 60_000) } });
    expect(new Set((await alerts('*', 0)).map(({ workerLabel }) => workerLabel))).toEqual(new Set(['a', null]));
  });
});

test('the queues and labels in use are those of runs that are not over, of live configs and of workers', async () => {
  const { id } = await backupWith('used');
  await comes('one', ['carried']);
  const queues = await labelledQueuesInUse(db().client);
  expect(queues).toContainEqual({ kind: 'backup', workerLabel: 'used' });
  expect(await labelsInUse(db().client)).toEqual(expect.arrayContaining(['carried', 'used']));
  await requestCancel(db(), 'backup', id);
  await db().client.backupConfig.updateMany({ data: { deletedAt: new Date(), isActive: false } });
  expect(await labelledQueuesInUse(db().client)).toEqual([]);
  expect(await labelsInUse(db().client)).toEqual(['carried']);
});
