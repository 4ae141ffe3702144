import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAdoptionJob } from './adoption-jobs.ts';
import { createCleanupJobs } from './cleanup-jobs.ts';
import { createCopyJob } from './copy-jobs.ts';
import { inTransaction } from './in-transaction.ts';
import type { Transaction } from './open-database.ts';
import { createRecoveryJob } from './recovery-jobs.ts';
import { rerouteRuns } from './reroute-runs.ts';
import { claimRun } from './runs.ts';
import { sampleBackup, sampleCompletedBackup, sampleConfig } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { createVerification } from './verifications.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const write = <T>(run: (tx: Transaction) => Promise<T>): Promise<T> => inTransaction(database.db, run);

test('runs that are not over follow their config, but for recoveries that name a label themselves', async () => {
  const { db } = database;
  const config = await sampleConfig(db, { workerLabel: 'before' });
  const { id: backupConfigId, repositoryId, businessEntityId } = config;
  const done = await sampleCompletedBackup(db, { backupConfigId });
  const pending = await sampleBackup(db, { backupConfigId, execute: false });
  const running = await sampleBackup(db, { backupConfigId });
  await claimRun(db, 'backup', running.id, { workerId: 'w' });
  const verification = await write((tx) => createVerification(tx, '*', { backupJobId: done.id, verificationType: 'checksum' }));
  const target = { backupJobId: done.id, recoveryType: 'full', targetLocation: '/x', options: {}, execute: true } as const;
  const recovery = await write((tx) => createRecoveryJob(tx, '*', target));
  const elsewhere = await write((tx) => createRecoveryJob(tx, '*', { ...target, workerLabel: 'host:spare' }));
  const anywhere = await write((tx) => createRecoveryJob(tx, '*', { ...target, workerLabel: null }));
  const [cleanup] = await write((tx) => createCleanupJobs(tx, '*', { repositoryId, dryRun: true }));
  const adoption = await write((tx) => createAdoptionJob(tx, '*', repositoryId));
  const second = await sampleConfig(db, {
    businessEntityId,
    locationKey: 'local:/second',
    storageOptions: { type: 'local', path: '/second' },
  });
  const places = { businessEntityId, sourceRepositoryId: second.repositoryId, targetRepositoryId: repositoryId };
  const copy = await write((tx) => createCopyJob(tx, { ...places, copyConfigId: null, options: {}, execute: true }));
  const made = [pending, running, verification, recovery, cleanup, adoption, copy];
  expect(made.map((run) => run?.workerLabel)).toEqual(made.map(() => 'before'));
  expect([elsewhere.workerLabel, anywhere.workerLabel]).toEqual(['host:spare', null]);

  const changed = async (workerLabel: string | null) => {
    await db.client.backupConfig.update({ where: { id: backupConfigId }, data: { workerLabel } });
    const rerouted = await write((tx) => rerouteRuns(tx, { backupConfigId, repositoryIds: [repositoryId] }));
    return rerouted.map(({ kind, id, status, from, to }) => `${kind} ${id} ${status} ${from} ${to}`).toSorted();
  };
  const all = (from: string | null, to: string | null) =>
    [
      `backup ${pending.id} pending`,
      `backup ${running.id} running`,
      `verify ${verification.id} queued`,
      `recovery ${recovery.id} queued`,
      `cleanup ${cleanup?.id} queued`,
      `adopt ${adoption.id} queued`,
      `copy ${copy.id} queued`,
    ]
      .map((run) => `${run} ${from} ${to}`)
      .toSorted();
  expect(await changed('after')).toEqual(all('before', 'after'));
  expect(await changed('after')).toEqual([]);
  expect(await changed(null)).toEqual(all('after', null));
  expect(await db.client.recoveryJob.findUnique({ where: { id: elsewhere.id } })).toMatchObject({ workerLabel: 'host:spare' });
  expect(await db.client.backupJob.findUnique({ where: { id: done.id } })).toMatchObject({ workerLabel: 'before' });

  // A run that moved is refused to the worker that takes it where it was.
  const carries = (workerLabel: string | null): boolean => workerLabel === 'before';
  expect(await claimRun(db, 'verify', verification.id, { workerId: 'former', carries })).toBeNull();
  expect(await claimRun(db, 'verify', verification.id, { workerId: 'any', carries: (label) => label === null })).toMatchObject({
    attempt: 1,
  });
});

test('runs of a repository have the label that all of its live configs name, and none at a server', async () => {
  const { db } = database;
  const first = await sampleConfig(db, { workerLabel: 'a' });
  const { businessEntityId, repositoryId } = first;
  const label = async (of: string): Promise<string | null> => (await write((tx) => createAdoptionJob(tx, '*', of))).workerLabel;
  expect(await label(repositoryId)).toBe('a');
  const other = await sampleConfig(db, { businessEntityId, workerLabel: 'b' });
  expect(other.repositoryId).toBe(repositoryId);
  expect(await label(repositoryId)).toBeNull();
  await db.client.backupConfig.update({ where: { id: other.id }, data: { deletedAt: new Date(), isActive: false } });
  expect(await label(repositoryId)).toBe('a');
  const atServer = await sampleConfig(db, {
    businessEntityId,
    workerLabel: 'a',
    storageLocation: 's3',
    storageOptions: { type: 's3', bucket: 'x' },
    locationKey: 's3:x',
  });
  expect(await label(atServer.repositoryId)).toBeNull();
});
