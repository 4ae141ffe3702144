import { randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createCleanupJobs } from '@holdfast/database/cleanup-jobs';
import { createCopyConfig } from '@holdfast/database/copy-configs';
import { createCopyJob } from '@holdfast/database/copy-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { findOrCreateRepository, repositoryPassword } from '@holdfast/database/repositories';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { requestCancel } from '@holdfast/database/runs';
import { check } from '@holdfast/engine/checker';
import { systemClock } from '@holdfast/engine/clock';
import { openRepository, type Repository } from '@holdfast/engine/repository';
import { listSnapshots } from '@holdfast/engine/snapshots';
import type { CopyJobOptions } from '@holdfast/jobs/copy-options';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';
import type { RunningWorker } from '../start-workers.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';

const run = promisify(execFile);
const dayMs = 24 * 3600 * 1000;
const inThreeDays = { ...systemClock, now: () => new Date(Date.now() + 3 * dayMs) };

let fixture: WorkerFixture;
let businessEntityId: string;
/** Of the config `kept`, whose first backup has a file that its second one has not. */
let sourceRepositoryId: string;
let [first, second, ofOther] = ['', '', ''];
let [keptConfig, otherConfig] = ['', ''];

beforeAll(async () => {
  fixture = await openWorkerFixture('postgresql');
  const worker = await fixture.startWorker();
  const source = join(fixture.folder, 'source');
  for (const name of ['kept', 'other']) await mkdir(join(source, name));
  await writeFile(join(source, 'kept', 'long.bin'), randomBytes(400_000));
  await writeFile(join(source, 'kept', 'old.bin'), randomBytes(60_000));
  await writeFile(join(source, 'other', 'other.bin'), randomBytes(50_000));
  const paths = (name: string) => ({ source: { type: 'file_system', paths: [join(source, name)] }, retentionDays: 1 });
  keptConfig = await fixture.createConfig({ name: 'kept', ...paths('kept') });
  otherConfig = await fixture.createConfig({ name: 'other', ...paths('other') });
  first = await backUp(keptConfig);
  await rm(join(source, 'kept', 'old.bin'));
  second = await backUp(keptConfig);
  ofOther = await backUp(otherConfig);
  await worker.stop();
  const config = await client().backupConfig.findUniqueOrThrow({ where: { id: keptConfig } });
  ({ businessEntityId, repositoryId: sourceRepositoryId } = config);
});
afterAll(() => fixture[Symbol.asyncDispose]());

const client = () => fixture.database.db.client;
const snapshotIdOf = async (jobId: string) => (await client().backupJob.findUniqueOrThrow({ where: { id: jobId } })).snapshotId ?? '';
const detailsOf = async (id: string) => Object((await client().copyJob.findUniqueOrThrow({ where: { id } })).details);
const folderOf = (name: string) => join(fixture.folder, 'storage', name);

async function backUp(configId: string): Promise<string> {
  const id = await fixture.submitBackup(configId);
  expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
  return id;
}

/** A repository's row for a folder, as the API makes it. */
async function target(name: string): Promise<string> {
  const path = folderOf(name);
  const input = { businessEntityId, storageLocation: 'local', locationKey: `local:${path}`, encryptionEnabled: true } as const;
  const options = { type: 'local', path };
  return inTransaction(fixture.database.db, async (tx) => {
    return (await findOrCreateRepository(tx, { ...input, storageOptions: options }, fixture.config.masterKey)).id;
  });
}

async function submitCopy(targetRepositoryId: string, options: Partial<CopyJobOptions> = {}, from = sourceRepositoryId): Promise<string> {
  const input = { businessEntityId, sourceRepositoryId: from, targetRepositoryId, copyConfigId: null, execute: true };
  const { id } = await inTransaction(fixture.database.db, (tx) =>
    createCopyJob(tx, { ...input, options: { snapshots: {}, verify: true, ...options } }),
  );
  await fixture.queues.enqueueRun('copy', id);
  return id;
}

async function copy(to: string, options: Partial<CopyJobOptions> = {}, from = sourceRepositoryId): Promise<RunRow & { details: object }> {
  const id = await submitCopy(to, options, from);
  const row = await fixture.eventually('copy', id, isFinal);
  return { ...row, details: await detailsOf(id) };
}

/** Opens the repository of a folder as somebody who knows its password. */
async function opened<T>(name: string, repositoryId: string, look: (repository: Repository) => Promise<T>): Promise<T> {
  const password = await repositoryPassword(client(), repositoryId, fixture.config.masterKey);
  await using repository = await openRepository({ storage: await openLocalStorage({ path: folderOf(name) }), password });
  return await look(repository);
}

const snapshotsIn = (name: string, repositoryId: string) => opened(name, repositoryId, (repository) => listSnapshots(repository));
const damageIn = (name: string, repositoryId: string) =>
  opened(name, repositoryId, async (repository) => (await check({ repository, level: 'full' })).findings);

async function packsIn(name: string): Promise<{ path: string; sizeBytes: number }[]> {
  const data = join(folderOf(name), 'data');
  const names = await readdir(data, { recursive: true }).catch(() => []);
  const packs = names.filter((each) => /\/[0-9a-f]{64}$/u.test(each)).map((each) => join(data, each));
  return Promise.all(packs.map(async (path) => ({ path, sizeBytes: (await stat(path)).size })));
}

async function spoil(path: string): Promise<() => Promise<void>> {
  const bytes = await readFile(path);
  const spoilt = Buffer.from(bytes);
  spoilt[10] = (spoilt[10] ?? 0) ^ 1;
  const write = async (content: Uint8Array) => {
    await writeFile(`${path}.new`, content);
    await rename(`${path}.new`, path);
  };
  await write(spoilt);
  return () => write(bytes);
}

describe('a copy', () => {
  let worker: RunningWorker;
  beforeAll(async () => {
    worker = await fixture.startWorker();
  });
  afterAll(() => worker?.stop());

  test('brings every snapshot into a repository of its own, verified, and does so once', async () => {
    const to = await target('second');
    const made = await copy(to);
    expect(made).toMatchObject({ status: 'completed', errorMessage: null });
    expect(made.details).toMatchObject({ snapshotsCopied: 3, snapshotsFailed: 0, cutsAlike: true });
    const packs = await packsIn('second');
    expect(made.details).toMatchObject({
      packsWritten: packs.length,
      packBytes: packs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      verification: { snapshotsChecked: 3, packsChecked: packs.length, damageCount: 0, findings: [] },
    });
    expect(await damageIn('second', to)).toEqual([]);
    const copies = await snapshotsIn('second', to);
    expect(copies.map(({ original }) => original)).toEqual(await Promise.all([first, second, ofOther].map(snapshotIdOf)));
    const rows = await client().snapshotCopy.findMany({ where: { repositoryId: to } });
    expect(new Map(rows.map((row) => [row.snapshotId, row.backupJobId]))).toEqual(
      new Map(copies.map(({ id }, nth) => [id, [first, second, ofOther][nth]])),
    );
    expect(rows.every(({ verifiedAt }) => verifiedAt !== null)).toBe(true);
    expect(await client().repository.findUnique({ where: { id: to } })).toMatchObject({ state: 'ready' });

    const again = await copy(to);
    expect(again.details).toMatchObject({ snapshotsCopied: 0, snapshotsAlreadyThere: 3, bytesCopied: 0, verification: null });
    // And back: nothing is copied to where it came from.
    expect((await copy(sourceRepositoryId, {}, to)).details).toMatchObject({ snapshotsCopied: 0, snapshotsAlreadyThere: 3 });
  });

  test('takes only the snapshots that are wanted', async () => {
    const to = await target('some');
    expect((await copy(to, { snapshots: { backupConfigIds: [otherConfig] } })).details).toMatchObject({ snapshotsCopied: 1 });
    expect((await copy(to, { snapshots: { since: '2099-01-01T00:00:00Z' } })).details).toMatchObject({ snapshotsCopied: 0 });
    const byId = await copy(to, { snapshots: { ids: [await snapshotIdOf(first)] } });
    expect(byId.details).toMatchObject({ snapshotsCopied: 1, copied: [{ from: await snapshotIdOf(first) }] });
    expect((await copy(to, { snapshots: { newerThanDays: 1 } })).details).toMatchObject({ snapshotsCopied: 1, snapshotsAlreadyThere: 2 });
  });

  test('leaves out a snapshot that is gone, and says so; of none but those nothing is left to do', async () => {
    const to = await target('gone');
    const gone = 'f'.repeat(64);
    const some = await copy(to, { snapshots: { ids: [await snapshotIdOf(first), gone] } });
    expect(some).toMatchObject({ status: 'completed_with_warnings', details: { snapshotsCopied: 1, failed: [{ from: gone }] } });
    expect(await copy(to, { snapshots: { ids: [gone] } })).toMatchObject({ status: 'failed', errorCode: 'snapshot_missing' });
  });

  test('copies the others when a snapshot of the source is damaged', async () => {
    const to = await target('of damaged');
    const id = await snapshotIdOf(ofOther);
    const ofItsFile = (await packsIn('repository')).find(({ sizeBytes }) => sizeBytes > 50_000 && sizeBytes < 60_000);
    const mend = await spoil(ofItsFile?.path ?? '');
    try {
      const made = await copy(to);
      expect(made).toMatchObject({ status: 'completed_with_warnings', details: { snapshotsCopied: 2, failed: [{ from: id }] } });
      expect(await damageIn('of damaged', to)).toEqual([]);
    } finally {
      await mend();
    }
    expect(await copy(to)).toMatchObject({ status: 'completed', details: { snapshotsCopied: 1 } });
  });

  test('finds damage in what it wrote, and goes on finding it', async () => {
    const to = await target('spoilt');
    expect(await copy(to, { verify: false })).toMatchObject({ status: 'completed', details: { verification: null } });
    const [largest] = (await packsIn('spoilt')).toSorted((a, b) => b.sizeBytes - a.sizeBytes);
    const mend = await spoil(largest?.path ?? '');
    for (let nth = 0; nth < 2; nth++) {
      const found = await copy(to);
      expect(found).toMatchObject({ status: 'failed', errorCode: 'verification_found_damage' });
      expect(found.details).toMatchObject({ snapshotsAlreadyThere: 3, verification: { snapshotsChecked: 3 } });
    }
    expect(await client().snapshotCopy.count({ where: { repositoryId: to, verifiedAt: { not: null } } })).toBe(0);
    await mend();
    expect(await copy(to)).toMatchObject({ status: 'completed', details: { verification: { damageCount: 0 } } });
    expect(await client().snapshotCopy.count({ where: { repositoryId: to, verifiedAt: null } })).toBe(0);
  });

  test('of two at once to one target, and of a cleanup of the source meanwhile, each ends well', async () => {
    const to = await target('contended');
    const ids = [await submitCopy(to), await submitCopy(to)];
    const [cleanup] = await inTransaction(fixture.database.db, (tx) =>
      createCleanupJobs(tx, '*', { dryRun: false, repositoryId: sourceRepositoryId }),
    );
    await fixture.queues.enqueueRun('cleanup', cleanup?.id ?? '');
    for (const id of ids) {
      expect(await fixture.eventually('copy', id, isFinal, 60_000)).toMatchObject({ status: 'completed', errorMessage: null });
    }
    expect(await fixture.eventually('cleanup', cleanup?.id ?? '', isFinal, 60_000)).toMatchObject({ status: 'completed' });
    const all = await Promise.all(ids.map(detailsOf));
    expect(all.reduce((sum: number, details) => sum + details.snapshotsCopied, 0)).toBe(3);
    expect(await snapshotsIn('contended', to)).toHaveLength(3);
    expect((await damageIn('contended', to)).filter(({ severity }) => severity === 'damage')).toEqual([]);
  });

  test('that is cancelled stops, shows nothing, and the next one goes on', async () => {
    const to = await target('cancelled');
    const id = await submitCopy(to, { uploadBytesPerSecond: 16_384 });
    await fixture.eventually('copy', id, ({ status }) => status === 'running');
    await expect.poll(() => stat(join(folderOf('cancelled'), 'config')).then(Boolean, () => false), { timeout: 10_000 }).toBe(true);
    await requestCancel(fixture.database.db, 'copy', id);
    expect(await fixture.eventually('copy', id, isFinal)).toMatchObject({ status: 'cancelled' });
    expect(await snapshotsIn('cancelled', to)).toEqual([]);
    expect(await readdir(join(folderOf('cancelled'), 'locks'))).toEqual([]);
    expect(await copy(to)).toMatchObject({ status: 'completed', details: { snapshotsCopied: 3 } });
  });

  test('to a repository that was there and is gone fails, and makes none in its place', async () => {
    const to = await target('lost');
    await copy(to);
    await rename(folderOf('lost'), folderOf('found again'));
    expect(await copy(to)).toMatchObject({ status: 'failed', errorCode: 'repository_missing' });
    expect(await client().repository.findUnique({ where: { id: to } })).toMatchObject({ state: 'unreachable' });
    await rename(folderOf('found again'), folderOf('lost'));
    expect(await copy(to)).toMatchObject({ status: 'completed' });
  });

  test.skipIf(process.getuid?.() !== 0)('to a disk that is full fails with that, and goes on when there is room', async () => {
    const to = await target('full');
    await mkdir(folderOf('full'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', folderOf('full')]);
    try {
      const id = await submitCopy(to);
      const isTold = (row: RunRow) => row.errorCode !== null || isFinal(row);
      expect(await fixture.eventually('copy', id, isTold, 60_000)).toMatchObject({ errorCode: 'storage_full' });
      expect(await snapshotsIn('full', to)).toEqual([]);
      await run('mount', ['-o', 'remount,size=20m', folderOf('full')]);
      expect(await fixture.eventually('copy', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
      expect(await damageIn('full', to)).toEqual([]);
    } finally {
      await run('umount', ['--lazy', folderOf('full')]);
    }
  });

  test('is made by a schedule, until that is turned off', async () => {
    const targetRepositoryId = await target('scheduled');
    const options = { snapshots: {}, verify: true };
    const input = { businessEntityId, sourceRepositoryId, targetRepositoryId, options, schedule: '* * * * * *', timeZone: 'UTC' };
    const { id } = await inTransaction(fixture.database.db, (tx) => createCopyConfig(tx, input));
    const jobs = () => client().copyJob.findMany({ where: { copyConfigId: id }, orderBy: { scheduledFor: 'asc' } });
    await expect
      .poll(async () => (await jobs()).filter(({ status }) => status === 'completed').length, { timeout: 30_000 })
      .toBeGreaterThan(1);
    const made = await jobs();
    expect(made.every(({ trigger, scheduledFor }) => trigger === 'schedule' && scheduledFor !== null)).toBe(true);
    expect(new Set(made.map(({ scheduledFor }) => scheduledFor?.getTime())).size).toBe(made.length);
    await client().copyConfig.update({ where: { id }, data: { isActive: false } });
    const scheduled = async () => (await fixture.queues.byName.schedule.getJobSchedulers()).map(({ key }) => key);
    await expect.poll(scheduled, { timeout: 5_000 }).not.toContain(id);
    for (const job of await jobs()) await fixture.eventually('copy', job.id, isFinal);
    expect(await snapshotsIn('scheduled', targetRepositoryId)).toHaveLength(3);
  });
});

test('a tick that was missed is made up for', async () => {
  const targetRepositoryId = await target('missed');
  const options = { snapshots: {}, verify: true };
  const input = { businessEntityId, sourceRepositoryId, targetRepositoryId, options, schedule: '0 3 * * *', timeZone: 'UTC' };
  const { id } = await inTransaction(fixture.database.db, (tx) => createCopyConfig(tx, input));
  const worker = await fixture.startWorker({ clock: inThreeDays });
  try {
    const jobs = () => client().copyJob.findMany({ where: { copyConfigId: id } });
    await expect.poll(async () => (await jobs()).map(({ status }) => status), { timeout: 20_000 }).toEqual(['completed']);
    expect(await jobs()).toMatchObject([{ trigger: 'schedule' }]);
  } finally {
    await client().copyConfig.update({ where: { id }, data: { isActive: false } });
    await worker.stop();
  }
});

test('a copy that a killed worker has begun is gone on with by another, and nothing that has landed is sent again', async () => {
  const path = join(fixture.folder, 'source', 'large');
  await mkdir(path);
  const sizeBytes = 18_000_000;
  for (let nth = 0; nth < 5; nth++) await writeFile(join(path, `${nth}.bin`), randomBytes(sizeBytes));
  const place = folderOf('large');
  const config = {
    source: { type: 'file_system', paths: [path] },
    storageOptions: { type: 'local', path: place },
    locationKey: `local:${place}`,
  };
  const configId = await fixture.createConfig({ name: 'large', ...config });
  const worker = await fixture.startWorker();
  await backUp(configId);
  await worker.stop();
  const { repositoryId } = await client().backupConfig.findUniqueOrThrow({ where: { id: configId } });

  const to = await target('copy of large');
  const id = await submitCopy(to, { uploadBytesPerSecond: 20_000_000 }, repositoryId);
  const killed = await startWorkerProcess(fixture, {});
  await expect.poll(async () => (await packsIn('copy of large')).length, { timeout: 30_000, interval: 20 }).toBeGreaterThanOrEqual(2);
  await killed.kill();
  const landedBytes = (await packsIn('copy of large')).reduce((sum, pack) => sum + pack.sizeBytes, 0);
  await delay(200);
  const heir = await fixture.startWorker();
  expect(await fixture.eventually('copy', id, isFinal, 90_000)).toMatchObject({ status: 'completed', attempt: 2, errorMessage: null });
  const { bytesCopied, verification } = await detailsOf(id);
  // All of it but what had landed, and what trees and headers weigh.
  expect(landedBytes + bytesCopied).toBeLessThan(5 * sizeBytes + 1_000_000);
  expect(landedBytes).toBeGreaterThan(sizeBytes);
  // What the killed worker has written is read back as well.
  expect(verification.bytesRead).toBeGreaterThan(5 * sizeBytes);
  expect(await damageIn('copy of large', to)).toEqual([]);
  await heir.stop();
});

test('a backup is recovered from its copy when its own repository is lost, and whoever asks for that one is told of the copy', async () => {
  const to = await target('for recovery');
  const worker = await fixture.startWorker();
  expect(await copy(to)).toMatchObject({ status: 'completed' });
  const recover = async (name: string, fromRepositoryId?: string) => {
    const targetLocation = join(fixture.folder, 'target', name);
    const input = { backupJobId: first, recoveryType: 'full', targetLocation, options: { overwrite: false }, execute: true } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', { ...input, fromRepositoryId }));
    await fixture.queues.enqueueRun('recovery', id);
    return { targetLocation, row: await fixture.eventually('recovery', id, isFinal) };
  };
  await rename(folderOf('repository'), folderOf('lost for now'));
  try {
    const lost = await recover('nothing');
    expect(lost.row).toMatchObject({ status: 'failed', errorCode: 'repository_missing' });
    // Copies lie in several repositories by now; the oldest of them is named.
    const [oldest] = await client().snapshotCopy.findMany({ where: { backupJobId: first }, orderBy: { createdAt: 'asc' }, take: 1 });
    expect(lost.row.errorMessage).toContain(`repository ${oldest?.repositoryId} holds a copy`);
    const { row, targetLocation } = await recover('recovered', to);
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    const recovered = join(targetLocation, fixture.folder, 'source', 'kept');
    expect(await readdir(recovered)).toEqual(['long.bin', 'old.bin']);
    const now = await readFile(join(fixture.folder, 'source', 'kept', 'long.bin'));
    expect((await readFile(join(recovered, 'long.bin'))).equals(now)).toBe(true);
  } finally {
    await rename(folderOf('lost for now'), folderOf('repository'));
  }
  await expect(recover('none', await target('empty'))).rejects.toMatchObject({ code: 'backup_not_usable' });
  await worker.stop();
});

test('cleanup keeps the rules of retention in the second repository too, and its newest copy of each config', async () => {
  const to = await target('retained');
  const worker = await fixture.startWorker();
  expect(await copy(to)).toMatchObject({ status: 'completed', details: { snapshotsCopied: 3 } });
  await worker.stop();
  await fixture.startWorker({ clock: inThreeDays });
  const [cleanup] = await inTransaction(fixture.database.db, (tx) => createCleanupJobs(tx, '*', { dryRun: false, repositoryId: to }));
  await fixture.queues.enqueueRun('cleanup', cleanup?.id ?? '');
  expect(await fixture.eventually('cleanup', cleanup?.id ?? '', isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
  const rows = await client().snapshotCopy.findMany({ where: { repositoryId: to } });
  expect(new Set(rows.map(({ backupJobId }) => backupJobId))).toEqual(new Set([second, ofOther]));
  expect((await snapshotsIn('retained', to)).map(({ id }) => id).toSorted()).toEqual(rows.map(({ snapshotId }) => snapshotId).toSorted());
  // The backup itself is where it was.
  expect(await snapshotIdOf(first)).not.toBe('');
});
