import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCopyJob } from './copy-jobs.ts';
import { inTransaction } from './in-transaction.ts';
import { findOrCreateRepository } from './repositories.ts';
import { copiesInRepository, copiesOfBackup, recordSnapshotCopies } from './snapshot-copies.ts';
import { sampleCompletedBackup, sampleMasterKey, sampleResult } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.[Symbol.asyncDispose]());

test('copies are known by the backup that a tag names, else by their original; by no backup of another entity', async () => {
  const { db } = database;
  const backup = await sampleCompletedBackup(db);
  const ofAnother = await sampleCompletedBackup(db);
  const { businessEntityId, repositoryId: sourceRepositoryId } = backup;
  const place = { businessEntityId, storageLocation: 'local', locationKey: 'local:/second', encryptionEnabled: true } as const;
  const input = { ...place, storageOptions: { type: 'local', path: '/second' } };
  const job = await inTransaction(db, async (tx) => {
    const { id: targetRepositoryId } = await findOrCreateRepository(tx, input, sampleMasterKey);
    const options = { snapshots: {}, verify: true };
    return createCopyJob(tx, { businessEntityId, sourceRepositoryId, targetRepositoryId, copyConfigId: null, options, execute: true });
  });
  const record = (snapshotId: string, originalId: string, backupJobId?: string) =>
    recordSnapshotCopies(db.client, job, [{ snapshotId, originalId, backupJobId }]);
  await record('adopted', sampleResult.snapshotId);
  await record('foreign', 'f'.repeat(64), ofAnother.id);
  await record('unknown', 'e'.repeat(64));
  await record('tagged', 'd'.repeat(64), backup.id);
  await record('tagged', 'd'.repeat(64), backup.id);
  const rows = await db.client.snapshotCopy.findMany({ orderBy: { snapshotId: 'asc' } });
  expect(rows.map(({ snapshotId, backupJobId }) => [snapshotId, backupJobId])).toEqual([
    ['adopted', backup.id],
    ['foreign', null],
    ['tagged', backup.id],
    ['unknown', null],
  ]);
  // Where a copy was lost and made anew the newer one counts.
  expect(await copiesInRepository(db.client, job.targetRepositoryId, [backup.id])).toEqual(new Map([[backup.id, 'tagged']]));
  expect((await copiesOfBackup(db.client, [businessEntityId], backup.id)).map(({ snapshotId }) => snapshotId)).toEqual([
    'adopted',
    'tagged',
  ]);
  expect(await copiesOfBackup(db.client, [ofAnother.businessEntityId], backup.id)).toEqual([]);
});
