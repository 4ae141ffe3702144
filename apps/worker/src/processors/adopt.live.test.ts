// Long because one repository of stock restic is taken through all that may happen to it, and each fault of a place needs a place of its own.

import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createAdoptionJob } from '@holdfast/database/adoption-jobs';
import { createCleanupJobs } from '@holdfast/database/cleanup-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { findOrCreateRepository } from '@holdfast/database/repositories';
import { requestCancel } from '@holdfast/database/runs';
import { createVerification } from '@holdfast/database/verifications';
import { systemClock } from '@holdfast/engine/clock';
import { createRepository } from '@holdfast/engine/create-repository';
import { acquireLock } from '@holdfast/engine/lock';
import { openRepository } from '@holdfast/engine/repository';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { findStockRestics, type StockRestic } from '@holdfast/engine/testing/stock-restic';
import { archiveTree, cheapKdf as kdf, text } from '@holdfast/engine/testing/test-repository';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunInHand } from '../run-with-claim.ts';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';
import { processAdopt } from './adopt.ts';

const run = promisify(execFile);
const { found: restics } = await findStockRestics();
const password = 'secret';
const atOnce = 50;
const yearsMs = 20 * 365 * 24 * 3600 * 1000;
let aheadMs = 0;
const clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
/** What happens to an adoption after its first two hundred rows. */
let afterFirstBatch: ((run: RunInHand<'adopt'>) => void) | null = null;

let fixture: WorkerFixture;
beforeAll(async () => {
  fixture = await openWorkerFixture('postgresql');
  await fixture.startWorker({
    clock,
    works: {
      adopt: (inHand) =>
        processAdopt({
          ...inHand,
          onProgress(value) {
            inHand.onProgress(value);
            const happens = afterFirstBatch;
            afterFirstBatch = null;
            happens?.(inHand);
          },
        }),
    },
  });
});
afterAll(() => fixture[Symbol.asyncDispose]());

const client = () => fixture.database.db.client;
const placeOf = (name: string) => join(fixture.folder, 'storage', name);
const isDone = (row: RunRow) => isFinal(row);

/** As POST /repositories/adopt does it. */
async function register(path: string, given = password): Promise<string> {
  const { id } = await client().businessEntity.findFirstOrThrow();
  const storageOptions = { type: 'local', path };
  const place = { businessEntityId: id, storageLocation: 'local' as const, storageOptions, locationKey: `local:${path}` };
  const input = { ...place, encryptionEnabled: given !== '', password: given === '' ? undefined : given };
  return (await inTransaction(fixture.database.db, (tx) => findOrCreateRepository(tx, input, fixture.config.masterKey))).id;
}

async function start(repositoryId: string): Promise<string> {
  const { id } = await inTransaction(fixture.database.db, (tx) => createAdoptionJob(tx, '*', repositoryId));
  await fixture.queues.enqueueRun('adopt', id);
  return id;
}

async function adopt(repositoryId: string) {
  const id = await start(repositoryId);
  const { status, errorCode, attempt } = await fixture.eventually('adopt', id, isDone, 60_000);
  const { details } = await client().adoptionJob.findUniqueOrThrow({ where: { id } });
  return { id, status, errorCode, attempt, details };
}

const backupsOf = (repositoryId: string) =>
  client().backupJob.findMany({ where: { repositoryId }, include: { backupConfig: true }, orderBy: { createdAt: 'asc' } });

async function cleanUp(repositoryId: string) {
  const [job] = await inTransaction(fixture.database.db, (tx) => createCleanupJobs(tx, '*', { repositoryId, dryRun: false }));
  const id = job?.id ?? '';
  await fixture.queues.enqueueRun('cleanup', id);
  expect(await fixture.eventually('cleanup', id, isDone)).toMatchObject({ status: 'completed', errorMessage: null });
  return (await client().cleanupJob.findUniqueOrThrow({ where: { id } })).details;
}

interface TheirSnapshot {
  readonly id: string;
  readonly tree: string;
  readonly hostname: string;
  readonly paths: string[];
  readonly tags?: string[];
}

async function theirs(restic: StockRestic, path: string): Promise<TheirSnapshot[]> {
  return JSON.parse(await restic.run(path, ['snapshots', '--json', '--no-lock']));
}

describe.each(restics)('a repository that $name ($version) wrote', (restic) => {
  let source: string;
  let path: string;
  let repositoryId: string;
  const back = (...args: string[]) => restic.run(path, ['backup', '--quiet', ...args]);

  beforeAll(async () => {
    path = placeOf(`by ${restic.version}`);
    source = join(fixture.folder, 'source', restic.version);
    await mkdir(join(source, 'docs', 'deep'), { recursive: true });
    await mkdir(join(source, 'photos'));
    await writeFile(join(source, 'docs', 'a.txt'), 'first');
    await writeFile(join(source, 'docs', 'deep', 'big.bin'), crypto.getRandomValues(new Uint8Array(60_000)));
    await symlink('a.txt', join(source, 'docs', 'link'));
    await writeFile(join(source, 'photos', 'p.jpg'), 'not really');
    await restic.run(path, ['init']);
    await back('--host', 'alpha', join(source, 'docs'));
    await writeFile(join(source, 'docs', 'b.txt'), 'second');
    await back('--host', 'alpha', '--tag', 'weekly', join(source, 'docs'));
    await back('--host', 'beta', join(source, 'docs'), join(source, 'photos'));
    await back('--host', 'gamma', join(source, 'photos'));
    // Rewritten: another id, and `original` says which it was.
    await restic.run(path, ['tag', '--host', 'gamma', '--add', 'kept']);
    await back('--host', 'gone', join(source, 'photos'));
    const gone = (await theirs(restic, path)).find(({ hostname }) => hostname === 'gone');
    await restic.run(path, ['forget', gone?.id ?? '']);
    repositoryId = await register(path);
  });

  test('has all of its snapshots adopted, and nothing of it changed', async () => {
    const before = (await run('find', [path, '-type', 'f'])).stdout;
    expect(await adopt(repositoryId)).toMatchObject({
      status: 'completed',
      errorCode: null,
      details: { snapshotCount: 4, adoptedCount: 4, goneCount: 0, unreadableCount: 0, warnings: [] },
    });
    expect((await run('find', [path, '-type', 'f'])).stdout).toBe(before);
    const jobs = await backupsOf(repositoryId);
    const expected = (await theirs(restic, path)).map(({ id, tree }) => ({
      snapshotId: id,
      checksum: tree,
      status: 'completed',
      attempt: 0,
    }));
    expect(jobs).toHaveLength(4);
    expect(jobs).toMatchObject(expected);
    expect(jobs.map(({ fileSize }) => fileSize !== null)).toEqual(jobs.map(() => Number(restic.version.split('.')[1]) >= 17));
    expect(jobs.find(({ backupConfig }) => backupConfig.name.includes('gamma'))?.metadata).toMatchObject({
      hostname: 'gamma',
      snapshot: { tags: ['kept'], paths: [join(source, 'photos')], original: expect.stringMatching(/^[0-9a-f]{64}$/u) },
    });
  });

  test('has one config for each host and set of paths, which takes no work and keeps everything', async () => {
    const configs = await client().backupConfig.findMany({ where: { repositoryId }, orderBy: { name: 'asc' } });
    expect(configs).toMatchObject([
      { name: `adopted: alpha ${source}/docs`, isActive: false, retentionDays: null, schedule: null, backupType: 'file_system' },
      { name: `adopted: beta ${source}/docs, ${source}/photos`, source: { paths: [`${source}/docs`, `${source}/photos`] } },
      { name: `adopted: gamma ${source}/photos` },
    ]);
  });

  test('is adopted again without a trace', async () => {
    const before = await backupsOf(repositoryId);
    expect(await adopt(repositoryId)).toMatchObject({ status: 'completed', details: { snapshotCount: 4, adoptedCount: 0, goneCount: 0 } });
    expect(await backupsOf(repositoryId)).toEqual(before);
  });

  test.each(['full', 'selective'] as const)('gives back what is in it: %s', async (recoveryType) => {
    const job = (await backupsOf(repositoryId)).find(({ backupConfig }) => backupConfig.name.includes('beta'));
    const target = join(fixture.folder, 'target', restic.version, recoveryType);
    const options = { overwrite: false, ...(recoveryType === 'selective' ? { paths: [join(source, 'docs', 'deep')] } : {}) };
    const input = { backupJobId: job?.id ?? '', recoveryType, targetLocation: target, options, execute: true };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    await fixture.queues.enqueueRun('recovery', id);
    expect(await fixture.eventually('recovery', id, isDone)).toMatchObject({ status: 'completed', errorMessage: null });
    const compared = recoveryType === 'full' ? source : join(source, 'docs', 'deep');
    await run('diff', ['-r', '--no-dereference', compared, join(target, compared)]);
    if (recoveryType === 'selective') expect(await readdir(join(target, source))).toEqual(['docs']);
  });

  test.each(['checksum', 'integrity', 'restore_test'] as const)('is verified: %s', async (verificationType) => {
    const [job] = await backupsOf(repositoryId);
    const input = { backupJobId: job?.id ?? '', verificationType };
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
    await fixture.queues.enqueueRun('verify', id);
    expect(await fixture.eventually('verify', id, isDone)).toMatchObject({ status: 'completed', errorMessage: null });
  });

  test('loses nothing to any cleanup until somebody says how long it is kept', async () => {
    aheadMs = yearsMs;
    try {
      const before = await theirs(restic, path);
      for (const other of [1, 2]) expect(await cleanUp(repositoryId), String(other)).toMatchObject({ snapshotsForgotten: 0 });
      expect(await theirs(restic, path)).toEqual(before);
      await client().backupConfig.updateMany({ where: { repositoryId, name: { contains: 'alpha' } }, data: { retentionDays: 1 } });
    } finally {
      aheadMs = 0;
    }
  });

  test('shows what others do to it meanwhile', async () => {
    const before = await theirs(restic, path);
    await writeFile(join(source, 'docs', 'c.txt'), 'third');
    await back('--host', 'alpha', join(source, 'docs'));
    const [first] = before;
    await restic.run(path, ['forget', first?.id ?? '']);
    expect(await adopt(repositoryId)).toMatchObject({
      status: 'completed',
      details: { snapshotCount: 4, adoptedCount: 1, goneCount: 1 },
    });
    const jobs = await backupsOf(repositoryId);
    expect(jobs).toHaveLength(5);
    expect(jobs[0]).toMatchObject({ snapshotId: null, expiredAt: expect.any(Date), checksum: first?.tree });
    expect(new Set(jobs.flatMap(({ snapshotId }) => snapshotId ?? []))).toEqual(new Set((await theirs(restic, path)).map(({ id }) => id)));
  });

  test('is gone on with: a backup of an adopted config has its newest snapshot as the parent', async () => {
    const config = await client().backupConfig.findFirstOrThrow({ where: { repositoryId, name: { contains: 'alpha' } } });
    const newest = (await backupsOf(repositoryId)).findLast(({ backupConfigId }) => backupConfigId === config.id);
    await client().backupConfig.update({ where: { id: config.id }, data: { isActive: true } });
    const id = await fixture.submitBackup(config.id);
    expect(await fixture.eventually('backup', id, isDone)).toMatchObject({ status: 'completed', errorMessage: null });
    const { metadata } = await client().backupJob.findUniqueOrThrow({ where: { id } });
    expect(metadata).toMatchObject({ parentId: newest?.snapshotId, summary: { filesNew: 0, filesUnmodified: 4 } });
    await restic.run(path, ['check', '--read-data']);
    expect(await adopt(repositoryId)).toMatchObject({ details: { adoptedCount: 0, goneCount: 0 } });
  });

  test('forgets by a retention that was set on purpose what is too old, and no more', async () => {
    const config = await client().backupConfig.findFirstOrThrow({ where: { repositoryId, name: { contains: 'alpha' } } });
    const old = new Date(Date.now() - 10 * 24 * 3600 * 1000);
    await restic.run(path, [
      'backup',
      '--quiet',
      '--host',
      'alpha',
      '--time',
      old.toISOString().slice(0, 19).replace('T', ' '),
      join(source, 'docs'),
    ]);
    await adopt(repositoryId);
    const before = await theirs(restic, path);
    expect(await cleanUp(repositoryId)).toMatchObject({ snapshotsForgotten: 1 });
    const left = await theirs(restic, path);
    expect(left).toHaveLength(before.length - 1);
    expect(await client().backupJob.count({ where: { backupConfigId: config.id, expiredAt: { not: null } } })).toBe(2);
    await restic.run(path, ['check', '--read-data']);
  });
});

describe('adopting', () => {
  /** A small repository of ours, whose snapshots have no tags of ours. */
  const made = async (name: string, count: number, given = password) => {
    const storage = await openLocalStorage({ path: placeOf(name) });
    await using repository = await createRepository({ storage, password: given, hostname: 'host', username: 'ann', kdf });
    const times = Array.from({ length: count }, (_, nth) => nth * 1000);
    // Each waits for its lock to settle: many do so at once.
    for (let at = 0; at < count; at += atOnce) {
      const some = times.slice(at, at + atOnce);
      await Promise.all(some.map((time) => archiveTree(repository, { file: text('x') }, { time: new Date(time) })));
    }
    return placeOf(name);
  };

  test('tells what is wrong with a place by its code, and makes nothing there', async () => {
    await mkdir(placeOf('empty'));
    expect(await adopt(await register(placeOf('empty')))).toMatchObject({ status: 'failed', errorCode: 'repository_missing', attempt: 1 });
    expect(await readdir(placeOf('empty'))).toEqual([]);
    expect(await adopt(await register(await made('locked up', 1), 'guessed'))).toMatchObject({
      status: 'failed',
      errorCode: 'repository_password_wrong',
      attempt: 1,
    });
    const damaged = await made('damaged', 1);
    const config = await readFile(join(damaged, 'config'));
    config[40] = (config[40] ?? 0) ^ 1;
    await rm(join(damaged, 'config'));
    await writeFile(join(damaged, 'config'), config);
    expect(await adopt(await register(damaged))).toMatchObject({ status: 'failed', errorCode: 'repository_damaged' });
    expect(await adopt(await register('/etc'))).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots' });
  });

  test.runIf(restics.length > 0)('says that the first version of the format is not read', async () => {
    const restic = restics.at(-1);
    await restic?.run(placeOf('version 1'), ['init', '--repository-version', '1']);
    const { errorCode, id } = await adopt(await register(placeOf('version 1')));
    expect(errorCode).toBe('repository_unsupported');
    expect((await client().adoptionJob.findUniqueOrThrow({ where: { id } })).errorMessage).toContain('version 1');
  });

  test('takes a repository without a password', async () => {
    expect(await adopt(await register(await made('open', 2, ''), ''))).toMatchObject({ status: 'completed', details: { adoptedCount: 2 } });
  });

  test('lists what somebody has locked for himself', async () => {
    const path = await made('exclusive', 2);
    await using repository = await openRepository({ storage: await openLocalStorage({ path }), password });
    await using lock = await acquireLock(repository, { exclusive: true });
    expect(await adopt(await register(path))).toMatchObject({ status: 'completed', details: { adoptedCount: 2 } });
    expect(lock.lost.aborted).toBe(false);
  });

  test('leaves out a snapshot that cannot be read, says so, and takes it once it can be', async () => {
    const path = await made('one torn', 3);
    const [torn = ''] = await readdir(join(path, 'snapshots'));
    const whole = await readFile(join(path, 'snapshots', torn));
    await rm(join(path, 'snapshots', torn));
    await writeFile(join(path, 'snapshots', torn), whole.subarray(0, 50));
    const repositoryId = await register(path);
    expect(await adopt(repositoryId)).toMatchObject({
      status: 'completed_with_warnings',
      details: { snapshotCount: 3, adoptedCount: 2, unreadableCount: 1, warnings: [expect.stringContaining(torn)] },
    });
    await rm(join(path, 'snapshots', torn));
    await writeFile(join(path, 'snapshots', torn), whole);
    expect(await adopt(repositoryId)).toMatchObject({ status: 'completed', details: { adoptedCount: 1 } });
    // Away and back: the same backup.
    await rename(join(path, 'snapshots', torn), join(path, 'away'));
    expect(await adopt(repositoryId)).toMatchObject({ details: { goneCount: 1 } });
    await rename(join(path, 'away'), join(path, 'snapshots', torn));
    expect(await adopt(repositoryId)).toMatchObject({ details: { adoptedCount: 0, backCount: 1 } });
    expect(await client().backupJob.count({ where: { repositoryId } })).toBe(3);
  });

  test('twice at once makes each row once', async () => {
    const repositoryId = await register(await made('twice', 6));
    const ids = [await start(repositoryId), await start(repositoryId)];
    for (const id of ids) expect(await fixture.eventually('adopt', id, isDone)).toMatchObject({ status: 'completed' });
    expect(await client().backupJob.count({ where: { repositoryId } })).toBe(6);
    expect(await client().backupConfig.count({ where: { repositoryId } })).toBe(1);
  });

  test('brings back jobs and configs of a database that is lost, by their ids', async () => {
    await writeFile(join(fixture.folder, 'source', 'ours.txt'), 'ours');
    const configId = await fixture.createConfig({ name: 'lost', retentionDays: 1, encryptionKey: password });
    const jobId = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', jobId, isDone)).toMatchObject({ status: 'completed' });
    const { repositoryId, snapshotId } = await client().backupJob.findUniqueOrThrow({ where: { id: jobId } });
    await client().backupJob.delete({ where: { id: jobId } });
    await client().backupConfig.delete({ where: { id: configId } });
    expect(await adopt(repositoryId)).toMatchObject({ status: 'completed', details: { adoptedCount: 1 } });
    expect(await backupsOf(repositoryId)).toMatchObject([
      { id: jobId, snapshotId, backupConfigId: configId, backupConfig: { isActive: false, retentionDays: null } },
    ]);
    aheadMs = yearsMs;
    expect(await cleanUp(repositoryId)).toMatchObject({ snapshotsForgotten: 0 });
    aheadMs = 0;
    // Another repository with the same tags, at another place: a copy of files. Ids that are in use are not given twice.
    const copy = placeOf('copied by hand');
    await run('cp', ['-a', placeOf('repository'), copy]);
    const copyId = await register(copy);
    expect(await adopt(copyId)).toMatchObject({ status: 'completed', details: { adoptedCount: 1 } });
    const [job] = await backupsOf(copyId);
    expect(job).toMatchObject({ snapshotId, backupConfig: { repositoryId: copyId } });
    expect(job?.id).not.toBe(jobId);
    expect(job?.backupConfigId).not.toBe(configId);
  });

  test('what a running backup has written is left to it', async () => {
    const path = await made('under way', 1);
    await using repository = await openRepository({ storage: await openLocalStorage({ path }), password });
    const repositoryId = await register(path);
    await adopt(repositoryId);
    const [first] = await backupsOf(repositoryId);
    const row = { businessEntityId: first?.businessEntityId ?? '', backupConfigId: first?.backupConfigId ?? '', repositoryId };
    const later = new Date(Date.now() + 3_600_000);
    const held = { status: 'running', claimedBy: 'another', startTime: new Date(), heartbeatAt: later } as const;
    const { id } = await client().backupJob.create({ data: { ...row, ...held, backupType: 'file_system' } });
    await archiveTree(repository, { file: text('new') }, { tags: ['holdfast', `job:${id}`, `config:${row.backupConfigId}`] });
    expect(await listSnapshots(repository)).toHaveLength(2);
    expect(await adopt(repositoryId)).toMatchObject({ details: { snapshotCount: 2, adoptedCount: 0 } });
    await client().backupJob.update({ where: { id }, data: { status: 'failed', errorCode: 'internal', endTime: new Date() } });
    expect(await adopt(repositoryId)).toMatchObject({ details: { adoptedCount: 0 } });
  });

  test('that is cancelled in the middle keeps what it has; a later one goes on, also when it fails on the way', async () => {
    const repositoryId = await register(await made('many', 450));
    afterFirstBatch = ({ context, claim }) =>
      void context.inHand.abort('adopt', claim.id, new HoldfastError('run_cancelled', 'as the cancel listener does it'));
    expect(await adopt(repositoryId)).toMatchObject({ status: 'cancelled', attempt: 1 });
    expect(await client().backupJob.count({ where: { repositoryId } })).toBe(200);
    afterFirstBatch = () => {
      throw new HoldfastError('database_unreachable', 'as if PostgreSQL had gone away');
    };
    expect(await adopt(repositoryId)).toMatchObject({ status: 'completed', attempt: 2, details: { adoptedCount: 50 } });
    expect(await client().backupJob.count({ where: { repositoryId } })).toBe(450);
    expect(await client().backupConfig.count({ where: { repositoryId } })).toBe(1);
  });

  test('that is cancelled before it began does nothing', async () => {
    const repositoryId = await register(await made('cancelled', 2));
    const { id } = await inTransaction(fixture.database.db, (tx) => createAdoptionJob(tx, '*', repositoryId));
    expect(await requestCancel(fixture.database.db, 'adopt', id)).toBe('cancelled');
    await fixture.queues.enqueueRun('adopt', id);
    expect(await client().backupJob.count({ where: { repositoryId } })).toBe(0);
  });
});
