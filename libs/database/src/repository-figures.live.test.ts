import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCleanupJobs } from './cleanup-jobs.ts';
import { inTransaction } from './in-transaction.ts';
import { repositoryFigures } from './repository-figures.ts';
import { finishRun } from './runs.ts';
import { sampleBackup, sampleClaim, sampleConfig, sampleResult } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { createVerification } from './verifications.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const longAgo = new Date(0);

test('a repository that nothing was written to has none of it', async () => {
  const { repositoryId } = await sampleConfig(database.db, { locationKey: 'local:/empty' });
  const figures = await repositoryFigures(database.db.client, [repositoryId], longAgo);
  expect(figures.get(repositoryId)).toEqual({ snapshotCount: 0, sizeBytes: 0n, growthBytes: 0n, lastBackupAt: null, lastCheck: null });
  expect((await repositoryFigures(database.db.client, [], longAgo)).size).toBe(0);
  expect((await repositoryFigures(database.db.client, ['nobody'], longAgo)).size).toBe(0);
});

test('backups add to its size and growth, a cleanup says what is left, a verification when it was looked at', async () => {
  const { db } = database;
  const config = await sampleConfig(db, { locationKey: 'local:/figures' });
  const backUp = async (dataAddedPacked: number): Promise<string> => {
    const { id } = await sampleBackup(db, { backupConfigId: config.id });
    const result = { ...sampleResult, metadata: { summary: { dataAddedPacked } } };
    await finishRun(db, await sampleClaim(db, 'backup', id), { status: 'completed', result });
    return id;
  };
  const figures = async (since = longAgo) => (await repositoryFigures(db.client, [config.repositoryId], since)).get(config.repositoryId);

  const first = await backUp(3_000_000_000);
  await backUp(500);
  expect(await figures()).toMatchObject({ snapshotCount: 2, sizeBytes: 3_000_000_500n, growthBytes: 3_000_000_500n, lastCheck: null });
  expect((await figures())?.lastBackupAt).toBeInstanceOf(Date);
  expect(await figures(new Date(Date.now() + 60_000))).toMatchObject({ sizeBytes: 3_000_000_500n, growthBytes: 0n });

  const [cleanup] = await inTransaction(db, (tx) => createCleanupJobs(tx, '*', { repositoryId: config.repositoryId, dryRun: false }));
  await finishRun(db, await sampleClaim(db, 'cleanup', cleanup?.id ?? ''), {
    status: 'completed',
    result: { details: { bytesAfter: 2_000_000_000 } },
  });
  expect(await figures()).toMatchObject({ sizeBytes: 2_000_000_000n, growthBytes: 3_000_000_500n });
  await backUp(70);
  expect(await figures()).toMatchObject({ snapshotCount: 3, sizeBytes: 2_000_000_070n });

  for (const [outcome, passed] of [
    [{ status: 'completed', result: { details: {} } }, true],
    [{ status: 'failed', error: { code: 'verification_found_damage', message: 'damage' }, result: { details: {} } }, false],
  ] as const) {
    const { id } = await inTransaction(db, (tx) => createVerification(tx, '*', { backupJobId: first, verificationType: 'integrity' }));
    await finishRun(db, await sampleClaim(db, 'verify', id), outcome);
    expect((await figures())?.lastCheck).toMatchObject({ kind: 'integrity', passed });
  }
});
