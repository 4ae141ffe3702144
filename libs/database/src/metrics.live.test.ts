import { afterAll, beforeAll, expect, test } from 'vitest';
import { inTransaction } from './in-transaction.ts';
import { backupMetrics, recoveryMetrics, runCounts } from './metrics.ts';
import { createRecoveryJob } from './recovery-jobs.ts';
import { finishRun } from './runs.ts';
import { sampleBackup, sampleClaim, sampleCompletedBackup, sampleConfig } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { heartbeatWorker, listWorkers, registerWorker, removeWorker, sweepWorkers } from './workers.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('metrics of nothing are zeroes and nulls', async () => {
  expect(await backupMetrics(database.db.client, [], {})).toEqual({
    total: 0,
    byStatus: { pending: 0, queued: 0, running: 0, completed: 0, completed_with_warnings: 0, failed: 0, cancelled: 0 },
    successRate: null,
    averageDurationMs: null,
    p95DurationMs: null,
    totalSizeBytes: 0n,
    lastSuccess: [],
  });
  expect(await recoveryMetrics(database.db.client, [], {})).toMatchObject({ total: 0, recoveredRecords: 0n, lastSuccessAt: null });
});

test('metrics count, add up and take the middle of what is in scope', async () => {
  const { db } = database;
  const config = await sampleConfig(db);
  const never = await sampleConfig(db, { businessEntityId: config.businessEntityId, name: 'never' });
  const jobs = [];
  for (let count = 0; count < 3; count++) jobs.push(await sampleCompletedBackup(db, { backupConfigId: config.id }));
  for (const [index, job] of jobs.entries()) {
    await db.client.backupJob.update({ where: { id: job.id }, data: { duration: BigInt((index + 1) * 1000) } });
  }
  const failing = await sampleBackup(db, { backupConfigId: config.id });
  await finishRun(db, await sampleClaim(db, 'backup', failing.id), { status: 'failed', error: { code: 'internal', message: 'x' } });
  await sampleBackup(db, { backupConfigId: config.id });
  await sampleCompletedBackup(db);

  const metrics = await backupMetrics(db.client, [config.businessEntityId], {});
  expect(metrics).toMatchObject({
    total: 5,
    byStatus: { completed: 3, failed: 1, queued: 1 },
    successRate: 0.75,
    averageDurationMs: 2000,
    p95DurationMs: 2900,
    totalSizeBytes: 15_000_000_000n,
  });
  const lastEnd = (await db.client.backupJob.findUniqueOrThrow({ where: { id: jobs[2]?.id ?? '' } })).endTime;
  expect(metrics.lastSuccess).toEqual([
    { backupConfigId: config.id, name: 'documents', at: lastEnd },
    { backupConfigId: never.id, name: 'never', at: null },
  ]);
  expect((await backupMetrics(db.client, '*', { entityId: config.businessEntityId })).total).toBe(5);
  expect((await backupMetrics(db.client, '*', { from: jobs[1]?.createdAt, to: jobs[2]?.createdAt })).total).toBe(1);
  expect((await runCounts(db.client, [config.businessEntityId])).backup).toMatchObject({ completed: 3, queued: 1 });

  const input = { backupJobId: jobs[0]?.id ?? '', recoveryType: 'full', targetLocation: '/r', options: {}, execute: true } as const;
  const recovery = await inTransaction(db, (tx) => createRecoveryJob(tx, '*', input));
  const taken = await sampleClaim(db, 'recovery', recovery.id);
  await finishRun(db, taken, { status: 'completed_with_warnings', result: { recoveredRecords: 12n, metadata: {} } });
  const recoveries = await recoveryMetrics(db.client, [config.businessEntityId], {});
  expect(recoveries).toMatchObject({ total: 1, successRate: 1, recoveredRecords: 12n });
  expect(recoveries.lastSuccessAt).toBeInstanceOf(Date);
});

test('workers come, show what they have in hand, fall silent and are swept', async () => {
  const { client } = database.db;
  await registerWorker(client, { id: 'w1', hostname: 'here', pid: 12 });
  expect(await heartbeatWorker(client, 'w1', [{ kind: 'backup', id: 'job' }])).toBe(true);
  expect(await heartbeatWorker(client, 'unknown', [])).toBe(false);
  expect(await listWorkers(client)).toMatchObject([{ id: 'w1', pid: 12, running: [{ kind: 'backup', id: 'job' }], isAlive: true }]);
  await client.workerProcess.update({ where: { id: 'w1' }, data: { heartbeatAt: new Date(Date.now() - 60_000) } });
  expect(await listWorkers(client)).toMatchObject([{ id: 'w1', isAlive: false }]);
  expect(await sweepWorkers(client)).toBe(0);
  await client.workerProcess.update({ where: { id: 'w1' }, data: { heartbeatAt: new Date(Date.now() - 25 * 3_600_000) } });
  expect(await sweepWorkers(client)).toBe(1);
  await removeWorker(client, 'w1');
});

test('the labels of workers are shown, and until when each had a worker stays known', async () => {
  const { client } = database.db;
  await registerWorker(client, { id: 'w2', hostname: 'here', pid: 1, labels: ['b', 'a'] });
  await registerWorker(client, { id: 'w3', hostname: 'here', pid: 2, labels: ['a'], labelsOnly: true });
  expect(await listWorkers(client)).toMatchObject([
    { labels: ['b', 'a'], labelsOnly: false },
    { labels: ['a'], labelsOnly: true },
  ]);
  const served = async (): Promise<Map<string, Date>> =>
    new Map((await client.workerLabel.findMany()).map(({ label, lastServedAt }) => [label, lastServedAt]));
  const before = await served();
  expect([...before.keys()].toSorted()).toEqual(['', 'a', 'b']);
  await client.workerLabel.updateMany({ data: { lastServedAt: new Date(0) } });
  // Both at once, again and again: neither waits for the other.
  await Promise.all(Array.from({ length: 20 }, (_, nth) => heartbeatWorker(client, nth % 2 === 0 ? 'w2' : 'w3', [])));
  await Promise.all([removeWorker(client, 'w2'), removeWorker(client, 'w3')]);
  const after = await served();
  for (const [label, at] of before) expect(after.get(label)?.getTime()).toBeGreaterThanOrEqual(at.getTime());
  await client.workerLabel.updateMany({ data: { lastServedAt: new Date(0) } });
  await sweepWorkers(client);
  expect(await served()).toEqual(new Map());
});
