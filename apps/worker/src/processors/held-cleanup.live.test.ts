import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createCleanupJobs, type CleanupInput } from '@holdfast/database/cleanup-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createVerification } from '@holdfast/database/verifications';
import { systemClock } from '@holdfast/engine/clock';
import { credentialsPlace, locationKey, parseStorageOptions } from '@holdfast/storage/storage-options';
import { type RadosgwServer, type S3Keys, startRadosgwServer } from '@holdfast/storage/testing/radosgw-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWorkerConfig } from '../config.ts';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';

const dayMs = 24 * 3600 * 1000;
/** What backups go by, and cleanups three days later; the server's locks go by its own clock. */
let aheadMs = 0;
const clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
const prefix = 'shop';

let server: RadosgwServer;
let fixture: WorkerFixture;
beforeAll(async () => {
  server = await startRadosgwServer();
  fixture = await openWorkerFixture('postgresql');
  const { storageHosts } = readWorkerConfig({ ...fixture.environment, HOLDFAST_STORAGE_HOSTS: '127.0.0.1' });
  await fixture.startWorker({ clock, config: { storageHosts } });
});
afterAll(async () => {
  await fixture?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

async function s3Config(bucket: string, more: object = {}, keys: S3Keys = server.credentials): Promise<string> {
  const { endpoint, region } = server;
  const storageOptions = { type: 's3', endpoint, region, bucket, prefix, ...more };
  const options = parseStorageOptions(storageOptions);
  return fixture.createConfig({
    name: bucket,
    retentionDays: 1,
    storageLocation: 's3',
    storageOptions,
    locationKey: locationKey(options),
    credentialsPlace: credentialsPlace(options),
    credentials: JSON.stringify(keys),
  });
}

async function localConfig(name: string, more: object = {}): Promise<string> {
  const path = join(fixture.folder, 'storage', name);
  const storageOptions = { type: 'local', path, ...more };
  return fixture.createConfig({ name, retentionDays: 1, storageOptions, locationKey: `local:${path}` });
}

/** Another content each time, so that each backup has a pack of its own. */
async function backUp(configId: string): Promise<string> {
  await writeFile(join(fixture.folder, 'source', 'file'), crypto.getRandomValues(new Uint8Array(60_000)));
  const id = await fixture.submitBackup(configId);
  expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
  return id;
}

const backupRow = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
const repositoryOf = async (configId: string): Promise<string> =>
  (await fixture.database.db.client.backupConfig.findUniqueOrThrow({ where: { id: configId } })).repositoryId;
const makeCleanups = (input: CleanupInput) => inTransaction(fixture.database.db, (tx) => createCleanupJobs(tx, '*', input));

async function cleanUp(id: string): Promise<RunRow & { readonly details: unknown }> {
  aheadMs = 3 * dayMs;
  await fixture.queues.enqueueRun('cleanup', id);
  const row = await fixture.eventually('cleanup', id, isFinal);
  aheadMs = 0;
  return { ...row, details: (await fixture.database.db.client.cleanupJob.findUniqueOrThrow({ where: { id } })).details };
}

async function cleanUpConfig(configId: string, dryRun = false) {
  const [row] = await makeCleanups({ repositoryId: await repositoryOf(configId), dryRun });
  return cleanUp(row?.id ?? '');
}

async function expectRecoverable(...backupJobIds: string[]): Promise<void> {
  for (const backupJobId of backupJobIds) {
    const { id } = await inTransaction(fixture.database.db, (tx) =>
      createVerification(tx, '*', { backupJobId, verificationType: 'restore_test' }),
    );
    await fixture.queues.enqueueRun('verify', id);
    expect(await fixture.eventually('verify', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
  }
}

describe('cleanup of a bucket with object locks', () => {
  it('completes, says what is held and until when, and takes it when the locks have ended', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    const config = await s3Config(bucket, { objectLock: { mode: 'governance', days: 30 } });
    const [old, newest] = [await backUp(config), await backUp(config)];
    const versions = await server.versionsIn(bucket);
    for (const dryRun of [true, false]) {
      const { status, details } = await cleanUpConfig(config, dryRun);
      expect(status).toBe('completed');
      expect(details).toMatchObject({ dryRun, snapshotsForgotten: 0, bytesFreed: 0, held: { snapshotCount: 1, endUnknownCount: 0 } });
      const { firstFreeAt, lastFreeAt } = Object(Object(details).held);
      for (const end of [firstFreeAt, lastFreeAt]) expect(Math.round((Date.parse(end) - Date.now()) / dayMs)).toBe(30);
    }
    expect(await server.versionsIn(bucket)).toEqual(versions);
    // What is held can be recovered like any other.
    expect(await backupRow(old)).toMatchObject({ snapshotId: expect.any(String), expiredAt: null });
    await expectRecoverable(old, newest);

    await server.endLocks(bucket);
    const { status, details } = await cleanUpConfig(config);
    expect(status).toBe('completed');
    expect(details).toMatchObject({ snapshotsForgotten: 1 });
    expect(Object(details)).not.toHaveProperty('held');
    expect(Object(details).bytesFreed).toBeGreaterThan(50_000);
    expect(await backupRow(old)).toMatchObject({ snapshotId: null, expiredAt: expect.any(Date) });
    await expectRecoverable(newest);
    expect((await server.versionsIn(bucket)).filter(({ isMarker }) => isMarker)).toEqual([]);
  });
});

describe('cleanup with credentials that may not delete', () => {
  it('fails before it has begun, and says what to do', async () => {
    const bucket = await server.makeBucket();
    await server.allowGuest(bucket, {
      '': ['s3:ListBucket', 's3:GetBucketLocation'],
      [`${prefix}/*`]: ['s3:GetObject', 's3:PutObject'],
      [`${prefix}/locks/*`]: ['s3:DeleteObject'],
    });
    const config = await s3Config(bucket, {}, server.guestCredentials);
    const [old, newest] = [await backUp(config), await backUp(config)];
    const snapshots = (await server.versionsIn(bucket)).filter(({ key }) => !key.startsWith(`${prefix}/trial/`));
    for (let times = 0; times < 2; times += 1) {
      expect(await cleanUpConfig(config)).toMatchObject({
        status: 'failed',
        errorCode: 'storage_denied',
        errorMessage: expect.stringContaining('nothing was removed: the credentials may not delete'),
      });
      expect(await backupRow(old)).toMatchObject({ snapshotId: expect.any(String), expiredAt: null });
    }
    const left = await server.versionsIn(bucket);
    expect(left.filter(({ key }) => !key.startsWith(`${prefix}/trial/`))).toEqual(snapshots);
    expect(left).toHaveLength(snapshots.length + 1);
    await expectRecoverable(old, newest);
  });
});

describe('an append-only repository', () => {
  it('is backed up and verified, and not cleaned up', async () => {
    const config = await localConfig('append', { appendOnly: true });
    const [old, newest] = [await backUp(config), await backUp(config)];
    await expectRecoverable(old, newest);
    const repositoryId = await repositoryOf(config);
    await expect(makeCleanups({ repositoryId, dryRun: false })).rejects.toMatchObject({ code: 'storage_append_only' });
    expect((await makeCleanups({ dryRun: false })).map((row) => row.repositoryId)).not.toContain(repositoryId);
    expect((await cleanUpConfig(config, true)).details).toMatchObject({ dryRun: true, snapshotsForgotten: 1 });

    // One that was owed when the repository was made append-only.
    const [owed] = await makeCleanups({ repositoryId, dryRun: true });
    const id = owed?.id ?? '';
    await fixture.database.db.client.cleanupJob.update({ where: { id }, data: { dryRun: false } });
    expect(await cleanUp(id)).toMatchObject({
      status: 'failed',
      errorCode: 'storage_append_only',
      errorMessage: expect.stringContaining('nothing was removed'),
    });
    expect(await backupRow(old)).toMatchObject({ snapshotId: expect.any(String), expiredAt: null });
    const folder = join(fixture.folder, 'storage', 'append');
    expect(await readdir(join(folder, 'snapshots'))).toHaveLength(2);
    expect(await readdir(join(folder, 'locks'))).toEqual([]);
    await expectRecoverable(old, newest);
  });
});
