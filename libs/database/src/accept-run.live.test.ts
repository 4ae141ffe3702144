import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptRun, acceptRuns, idempotencyKeptMs, sweepIdempotencyKeys } from './accept-run.ts';
import { createBackupJob, findBackupJob } from './backup-jobs.ts';
import { createCleanupJobs, findCleanupJob } from './cleanup-jobs.ts';
import type { Transaction } from './open-database.ts';
import { sampleConfig } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
let backupConfigId: string;
beforeAll(async () => {
  database = await createTestDatabase({ poolSize: 12 });
  backupConfigId = (await sampleConfig(database.db)).id;
});
afterAll(() => database.drop());

const create = async (tx: Transaction) => (await createBackupJob(tx, '*', { backupConfigId, execute: true })).row;
const find = (tx: Transaction, id: string) => findBackupJob(tx, '*', id);
const request = (key: string, requestHash = 'hash') => ({ scope: 'alice', key, requestHash });
const jobCount = () => database.db.client.backupJob.count();

describe('a request with an idempotency key', () => {
  test('that comes twice makes one row and gives it twice', async () => {
    const before = await jobCount();
    const first = await acceptRun(database.db, request('twice'), create, find);
    const second = await acceptRun(database.db, request('twice'), create, find);
    expect([first.replayed, second.replayed]).toEqual([false, true]);
    expect(second.row.id).toBe(first.row.id);
    expect(await jobCount()).toBe(before + 1);
  });

  test('that comes ten times at once makes one row and one event', async () => {
    const before = await jobCount();
    const answers = await Promise.all(Array.from({ length: 10 }, () => acceptRun(database.db, request('race'), create, find)));
    expect(new Set(answers.map(({ row }) => row.id)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await jobCount()).toBe(before + 1);
    expect(await database.db.client.event.count({ where: { subjectId: answers[0]?.row.id ?? '' } })).toBe(1);
  });

  test('that fails takes no key: the next one is the first', async () => {
    const failing = async (): Promise<never> => {
      throw new Error('no');
    };
    await expect(acceptRun(database.db, request('failed'), failing, find)).rejects.toThrow('no');
    expect((await acceptRun(database.db, request('failed'), create, find)).replayed).toBe(false);
  });

  test('is refused when the key came with another request, and is its own sender`s', async () => {
    await acceptRun(database.db, request('reused'), create, find);
    const other = acceptRun(database.db, request('reused', 'other hash'), create, find);
    await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    const bob = { ...request('reused'), scope: 'bob' };
    expect((await acceptRun(database.db, bob, create, find)).replayed).toBe(false);
  });

  test('that makes several rows, or none, gives the same ones again', async () => {
    await sampleConfig(database.db);
    const cleanup = (tx: Transaction) => createCleanupJobs(tx, '*', { dryRun: true });
    const first = await acceptRuns(database.db, request('all'), cleanup, (tx, id) => findCleanupJob(tx, '*', id));
    const second = await acceptRuns(database.db, request('all'), cleanup, (tx, id) => findCleanupJob(tx, '*', id));
    expect(first.rows.length).toBeGreaterThan(1);
    expect(second.rows.map(({ id }) => id)).toEqual(first.rows.map(({ id }) => id));
    const none = (tx: Transaction) => createCleanupJobs(tx, [], { dryRun: true });
    await acceptRuns(database.db, request('none'), none, (tx, id) => findCleanupJob(tx, '*', id));
    const again = await acceptRuns(database.db, request('none'), none, (tx, id) => findCleanupJob(tx, '*', id));
    expect(again).toEqual({ rows: [], replayed: true });
  });
});

test('a request without a key makes a row each time', async () => {
  const before = await jobCount();
  await acceptRun(database.db, null, create, find);
  await acceptRun(database.db, null, create, find);
  expect(await jobCount()).toBe(before + 2);
});

test('keys are forgotten after a day', async () => {
  await acceptRun(database.db, request('old'), create, find);
  expect(await sweepIdempotencyKeys(database.db.client, new Date())).toBe(0);
  expect(await sweepIdempotencyKeys(database.db.client, new Date(Date.now() + idempotencyKeptMs + 60_000))).toBeGreaterThan(0);
  expect((await acceptRun(database.db, request('old'), create, find)).replayed).toBe(false);
});
