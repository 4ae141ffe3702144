import { afterAll, beforeAll, expect, test } from 'vitest';
import { deleteBackupConfig } from './backup-configs.ts';
import { markBackupsExpired } from './backup-jobs.ts';
import { listChainBackups } from './chain-backups.ts';
import { inTransaction } from './in-transaction.ts';
import { sampleBackup, sampleCompletedBackup, sampleConfig, sampleResult } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('a chain holds the backups of its base config and of those that build on it, while their snapshots are there', async () => {
  const { db } = database;
  const base = await sampleConfig(db);
  const { businessEntityId } = base;
  const building = await sampleConfig(db, { businessEntityId, source: { type: 'postgresql_wal', baseConfigId: base.id } });
  const other = await sampleConfig(db, { businessEntityId, source: { type: 'postgresql_wal', baseConfigId: 'another' } });
  const elsewhere = await sampleConfig(db, { source: { type: 'postgresql_wal', baseConfigId: base.id } });
  const full = await sampleCompletedBackup(db, { backupConfigId: base.id });
  const wal = await sampleCompletedBackup(db, { backupConfigId: building.id });
  for (const config of [other, elsewhere]) await sampleCompletedBackup(db, { backupConfigId: config.id });
  await sampleBackup(db, { backupConfigId: base.id });
  await inTransaction(db, (tx) => deleteBackupConfig(tx, '*', building.id, new Date()));

  const chain = await listChainBackups(db.client, base.id);
  expect(chain.map(({ jobId }) => jobId)).toEqual([full.id, wal.id]);
  expect(chain[0]).toMatchObject({ backupConfigId: base.id, snapshotId: sampleResult.snapshotId, metadata: sampleResult.metadata });
  await inTransaction(db, (tx) => markBackupsExpired(tx, base.repositoryId, [sampleResult.snapshotId ?? ''], new Date()));
  expect(await listChainBackups(db.client, base.id)).toEqual([]);
});
