import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { activeSchedules, deleteBackupConfig, findBackupConfig, listBackupConfigs, updateBackupConfig } from './backup-configs.ts';
import { createBackupJob, findBackupWork, keptBackups, listBackupJobs, markBackupsExpired } from './backup-jobs.ts';
import { createCleanupJobs, findCleanupWork, listCleanupJobs } from './cleanup-jobs.ts';
import { createDrPlan, deleteDrPlan, findDrPlan, listDrPlans, updateDrPlan } from './dr-plans.ts';
import { createEntity, findEntity, findEntityByName, listEntities } from './entities.ts';
import { inTransaction } from './in-transaction.ts';
import type { Transaction } from './open-database.ts';
import { createRecoveryJob, findRecoveryJob, findRecoveryWork, listRecoveryJobs } from './recovery-jobs.ts';
import { findRepository, listRepositories, recordRepositoryState, repositoryPassword } from './repositories.ts';
import { parseMasterKey } from './sealed-secret.ts';
import { sampleBackup, sampleCompletedBackup, sampleConfig, sampleEntity, sampleMasterKey, sampleResult } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';
import { createVerification, findVerification, findVerificationWork, listVerifications } from './verifications.ts';

let database: TestDatabase;
const db = () => database.db;
const client = () => database.db.client;
const write = <T>(fn: (tx: Transaction) => Promise<T>) => inTransaction(database.db, fn);
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('entities', () => {
  test('are found within the scope only', async () => {
    const [mine, other] = [await sampleEntity(db()), await sampleEntity(db())];
    expect((await findEntity(client(), [mine.id], mine.id)).name).toBe(mine.name);
    await expect(findEntity(client(), [mine.id], other.id)).rejects.toMatchObject({ code: 'not_found' });
    expect((await listEntities(client(), [mine.id], {})).items).toEqual([mine]);
    expect(await findEntityByName(client(), mine.name)).toEqual(mine);
    expect(await findEntityByName(client(), 'nobody')).toBeNull();
  });

  test('have names of their own', async () => {
    const { name } = await sampleEntity(db());
    await expect(write((tx) => createEntity(tx, { name }))).rejects.toMatchObject({ code: 'conflict' });
  });
});

describe('configs', () => {
  test('at the same place share a repository; encrypted and open ones do not', async () => {
    const { id: businessEntityId } = await sampleEntity(db());
    const [one, two] = await Promise.all([sampleConfig(db(), { businessEntityId }), sampleConfig(db(), { businessEntityId })]);
    const open = await sampleConfig(db(), { businessEntityId, encryptionEnabled: false });
    expect(two.repositoryId).toBe(one.repositoryId);
    expect(open.repositoryId).not.toBe(one.repositoryId);
    expect(await repositoryPassword(client(), open.repositoryId, sampleMasterKey)).toBe('');
    expect(await repositoryPassword(client(), one.repositoryId, sampleMasterKey)).toMatch(/^[\w-]{43}$/u);
    expect((await listRepositories(client(), [businessEntityId], {})).items).toHaveLength(2);
  });

  test('of two entities at the same place do not share', async () => {
    const [one, two] = [await sampleConfig(db()), await sampleConfig(db())];
    expect(one.repositoryId).not.toBe(two.repositoryId);
  });

  test('share by a given key only when it fits, and never show it', async () => {
    const { id: businessEntityId } = await sampleEntity(db());
    const config = await sampleConfig(db(), { businessEntityId, encryptionKey: 'correct horse' });
    expect(JSON.stringify(config)).not.toMatch(/encryptionKey|correct/u);
    expect(JSON.stringify(await findBackupConfig(client(), '*', config.id))).not.toMatch(/encryptionKey|v1\./u);
    expect(await repositoryPassword(client(), config.repositoryId, sampleMasterKey)).toBe('correct horse');
    await sampleConfig(db(), { businessEntityId, encryptionKey: 'correct horse' });
    await sampleConfig(db(), { businessEntityId });
    const other = sampleConfig(db(), { businessEntityId, encryptionKey: 'battery staple' });
    await expect(other).rejects.toMatchObject({ code: 'conflict', context: { repositoryId: config.repositoryId } });
    const open = sampleConfig(db(), { businessEntityId, encryptionEnabled: false, encryptionKey: 'x' });
    await expect(open).rejects.toMatchObject({ code: 'conflict' });
    const stranger = parseMasterKey(Buffer.alloc(32, 9).toString('base64'));
    await expect(repositoryPassword(client(), config.repositoryId, stranger)).rejects.toMatchObject({ code: 'secret_unreadable' });
    expect(await client().backupConfig.findUniqueOrThrow({ where: { id: config.id } })).toMatchObject({
      encryptionKey: expect.stringMatching(/^v1\./u),
    });
  });

  test('of another entity are not there', async () => {
    const config = await sampleConfig(db());
    const scope = [(await sampleEntity(db())).id];
    const { id } = config;
    await expect(findBackupConfig(client(), scope, id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(write((tx) => deleteBackupConfig(tx, scope, id, new Date()))).rejects.toMatchObject({ code: 'not_found' });
    const job = write((tx) => createBackupJob(tx, scope, { backupConfigId: id, execute: true }));
    await expect(job).rejects.toMatchObject({ code: 'not_found' });
    expect((await listBackupConfigs(client(), scope, { entityId: config.businessEntityId }, {})).items).toEqual([]);
    await expect(sampleConfig(db(), { businessEntityId: 'nothing' })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('that are moved keep their old jobs in the old repository', async () => {
    const config = await sampleConfig(db());
    const job = await sampleBackup(db(), { backupConfigId: config.id });
    const moved = await write((tx) =>
      updateBackupConfig(
        tx,
        '*',
        config.id,
        {
          name: 'moved',
          backupType: 'file_system',
          source: { type: 'file_system', paths: ['/srv'] },
          retentionDays: 7,
          storageLocation: 'local',
          storageOptions: { type: 'local', path: '/elsewhere' },
          locationKey: 'local:/elsewhere',
          schedule: '0 3 * * *',
          timeZone: 'Europe/Berlin',
        },
        sampleMasterKey,
      ),
    );
    expect(moved).toMatchObject({ name: 'moved', retentionDays: 7, businessEntityId: config.businessEntityId });
    expect(moved.repositoryId).not.toBe(config.repositoryId);
    expect((await findBackupWork(client(), job.id)).repository.id).toBe(config.repositoryId);
    expect(await activeSchedules(client())).toContainEqual({ id: config.id, schedule: '0 3 * * *', timeZone: 'Europe/Berlin' });
  });

  test('that are deleted take no new work, and what they had stays', async () => {
    const config = await sampleConfig(db(), { schedule: '0 3 * * *' });
    const job = await sampleCompletedBackup(db(), { backupConfigId: config.id });
    await write((tx) => deleteBackupConfig(tx, '*', config.id, new Date()));
    await expect(write((tx) => deleteBackupConfig(tx, '*', config.id, new Date()))).rejects.toMatchObject({ code: 'not_found' });
    const another = write((tx) => createBackupJob(tx, '*', { backupConfigId: config.id, execute: true }));
    await expect(another).rejects.toMatchObject({ code: 'config_inactive' });
    expect((await findBackupConfig(client(), '*', config.id)).deletedAt).not.toBeNull();
    expect((await listBackupConfigs(client(), '*', { entityId: config.businessEntityId }, {})).items).toEqual([]);
    expect((await activeSchedules(client())).map(({ id }) => id)).not.toContain(config.id);
    const verification = await write((tx) => createVerification(tx, '*', { backupJobId: job.id, verificationType: 'checksum' }));
    expect(verification.status).toBe('queued');
  });

  test('with values that no row may have are refused by the database too', async () => {
    await expect(sampleConfig(db(), { retentionDays: 0 })).rejects.toThrow(/retentionDays_check/u);
  });
});

describe('backup jobs', () => {
  test('of one tick of a schedule are made once', async () => {
    const { id: backupConfigId } = await sampleConfig(db());
    const scheduledFor = new Date('2026-03-01T03:00:00Z');
    const make = () => write((tx) => createBackupJob(tx, '*', { backupConfigId, execute: true, scheduledFor }));
    const made = await Promise.all([make(), make(), make()]);
    expect(new Set(made.map(({ row }) => row.id)).size).toBe(1);
    expect(made.filter(({ created }) => created)).toHaveLength(1);
    expect(made[0]?.row).toMatchObject({ trigger: 'schedule', scheduledFor });
  });

  test('are listed newest first, page by page, each once, while others come in', async () => {
    const { id: backupConfigId } = await sampleConfig(db());
    const made: string[] = [];
    for (let count = 0; count < 7; count++) made.push((await sampleBackup(db(), { backupConfigId })).id);
    // Rows of the same moment are told apart by their ids.
    await client().backupJob.updateMany({ where: { id: { in: made.slice(2, 5) } }, data: { createdAt: new Date() } });
    const seen: string[] = [];
    for (let cursor: string | undefined, pages = 0; pages < 10; pages++) {
      const page = await listBackupJobs(client(), '*', { backupConfigId }, { limit: 2, cursor });
      seen.push(...page.items.map(({ id }) => id));
      await sampleBackup(db(), { backupConfigId });
      if (page.nextCursor === null) break;
      cursor = page.nextCursor;
    }
    expect(seen.toSorted()).toEqual(made.toSorted());
    expect(new Set(seen).size).toBe(made.length);
  });

  test('are filtered by status, type and time', async () => {
    const { id: backupConfigId, businessEntityId: entityId } = await sampleConfig(db());
    const queued = await sampleBackup(db(), { backupConfigId });
    const completed = await sampleCompletedBackup(db(), { backupConfigId });
    const ids = async (filter: Parameters<typeof listBackupJobs>[2]) =>
      (await listBackupJobs(client(), '*', { entityId, ...filter }, {})).items.map(({ id }) => id);
    expect(await ids({})).toEqual([completed.id, queued.id]);
    expect(await ids({ status: 'queued' })).toEqual([queued.id]);
    expect(await ids({ type: 'logs' })).toEqual([]);
    expect(await ids({ from: completed.createdAt })).toEqual([completed.id]);
    expect(await ids({ to: completed.createdAt })).toEqual([queued.id]);
  });

  test('lose their snapshot to cleanup and can then not be used', async () => {
    const job = await sampleCompletedBackup(db());
    expect(await keptBackups(client(), job.repositoryId)).toMatchObject([{ id: job.id, retentionDays: 30 }]);
    expect(await write((tx) => markBackupsExpired(tx, job.repositoryId, [sampleResult.snapshotId], new Date()))).toBe(1);
    expect(await write((tx) => markBackupsExpired(tx, job.repositoryId, [sampleResult.snapshotId], new Date()))).toBe(0);
    expect(await keptBackups(client(), job.repositoryId)).toEqual([]);
    const verify = write((tx) => createVerification(tx, '*', { backupJobId: job.id, verificationType: 'checksum' }));
    await expect(verify).rejects.toMatchObject({ code: 'backup_not_usable' });
  });
});

describe('verifications, recoveries and cleanups', () => {
  test('need a backup that has completed', async () => {
    const { id: backupJobId } = await sampleBackup(db());
    const verify = write((tx) => createVerification(tx, '*', { backupJobId, verificationType: 'checksum' }));
    await expect(verify).rejects.toMatchObject({ code: 'run_not_finished' });
    const input = { backupJobId: 'nothing', recoveryType: 'full', targetLocation: '/restored', options: {}, execute: true } as const;
    await expect(write((tx) => createRecoveryJob(tx, '*', input))).rejects.toMatchObject({ code: 'not_found' });
  });

  test('are made, found with what a worker needs, and listed', async () => {
    const { id: backupJobId, repositoryId, businessEntityId } = await sampleCompletedBackup(db());
    const scope = [businessEntityId];
    const verification = await write((tx) => createVerification(tx, scope, { backupJobId, verificationType: 'restore_test' }));
    const options = { overwrite: false, paths: ['/a'] };
    const recovery = await write((tx) =>
      createRecoveryJob(tx, scope, { backupJobId, recoveryType: 'selective', targetLocation: '/restored', options, execute: false }),
    );
    const [cleanup] = await write((tx) => createCleanupJobs(tx, scope, { repositoryId, dryRun: true }));
    expect(await findVerification(client(), scope, verification.id)).toMatchObject({ status: 'queued', verificationType: 'restore_test' });
    expect(await findRecoveryJob(client(), scope, recovery.id)).toMatchObject({ status: 'pending', options });
    const works = [
      (await findVerificationWork(client(), verification.id)).backupJob.repository,
      (await findRecoveryWork(client(), recovery.id)).backupJob.repository,
      (await findCleanupWork(client(), cleanup?.id ?? '')).repository,
    ];
    for (const repository of works) {
      expect(repository.id).toBe(repositoryId);
      expect(repository).not.toHaveProperty('sealedPassword');
    }
    expect((await listVerifications(client(), scope, { backupJobId, type: 'restore_test' }, {})).items).toHaveLength(1);
    expect((await listRecoveryJobs(client(), scope, { status: 'pending' }, {})).items).toHaveLength(1);
    expect((await listCleanupJobs(client(), scope, { repositoryId }, {})).items).toHaveLength(1);
    expect((await listCleanupJobs(client(), [], {}, {})).items).toEqual([]);
  });

  test('cleanups are made for each repository meant, once a tick', async () => {
    const { id: businessEntityId } = await sampleEntity(db());
    await sampleConfig(db(), { businessEntityId });
    await sampleConfig(db(), { businessEntityId, encryptionEnabled: false });
    const scheduledFor = new Date('2026-03-01T03:00:00Z');
    const make = () => write((tx) => createCleanupJobs(tx, '*', { businessEntityId, dryRun: false, scheduledFor }));
    expect(await make()).toHaveLength(2);
    expect(await make()).toHaveLength(0);
    const elsewhere = write((tx) => createCleanupJobs(tx, [], { businessEntityId, dryRun: false }));
    await expect(elsewhere).rejects.toMatchObject({ code: 'not_found' });
    const unknown = write((tx) => createCleanupJobs(tx, '*', { repositoryId: 'nothing', dryRun: false }));
    await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
  });
});

test('what a worker saw of a repository is kept', async () => {
  const { repositoryId } = await sampleConfig(db());
  await recordRepositoryState(client(), repositoryId, { state: 'ready', resticId: 'abc', probeLatencyMs: 3 });
  await recordRepositoryState(client(), repositoryId, { probeErrorCode: 'storage_unreachable' });
  const seen = await findRepository(client(), '*', repositoryId);
  expect(seen).toMatchObject({ state: 'ready', resticId: 'abc', probeLatencyMs: 3, probeErrorCode: 'storage_unreachable' });
});

test('disaster recovery plans are made, replaced, listed and removed', async () => {
  const { id: businessEntityId } = await sampleEntity(db());
  const input = { businessEntityId, name: 'fire', priority: 1, rto: 60, rpo: 15, procedures: ['call'], contacts: { duty: '112' } };
  const plan = await write((tx) => createDrPlan(tx, '*', input));
  const changed = await write((tx) => updateDrPlan(tx, '*', plan.id, { name: 'flood', priority: 2, rto: 30, rpo: 5 }));
  expect(changed).toMatchObject({ name: 'flood', procedures: null, contacts: null });
  expect((await listDrPlans(client(), [businessEntityId], { isActive: true }, {})).items).toEqual([changed]);
  await expect(write((tx) => updateDrPlan(tx, [], plan.id, input))).rejects.toMatchObject({ code: 'not_found' });
  await expect(write((tx) => updateDrPlan(tx, '*', plan.id, { ...input, rto: 0 }))).rejects.toThrow(/rto_check/u);
  await write((tx) => deleteDrPlan(tx, '*', plan.id));
  await expect(findDrPlan(client(), '*', plan.id)).rejects.toMatchObject({ code: 'not_found' });
});
