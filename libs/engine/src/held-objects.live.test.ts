import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { openStorage } from '@holdfast/storage/open-storage';
import type { Storage } from '@holdfast/storage/storage';
import { parseStorageOptions } from '@holdfast/storage/storage-options';
import { type RadosgwServer, type S3Keys, startRadosgwServer } from '@holdfast/storage/testing/radosgw-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { forget, findHeldSnapshots } from './forget.ts';
import { currentHolder } from './lock-holder.ts';
import { acquireLock } from './lock.ts';
import { prune } from './pruner.ts';
import type { Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { dataFolder as folder, goes, stays } from './testing/prunable-trees.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const run = promisify(execFile);
const prefix = 'shop/a';
const first = folder({ stays, goes, old: text('old') });
const second = folder({ stays, new: text('new') });

let server: RadosgwServer;
beforeAll(async () => {
  server = await startRadosgwServer();
});
afterAll(() => server?.[Symbol.asyncDispose]());

async function open(bucket: string, more: object = {}, keys: S3Keys = server.credentials): Promise<Storage> {
  const { endpoint, region } = server;
  return openStorage(parseStorageOptions({ type: 's3', endpoint, region, bucket, prefix, ...more }), {
    checkPath: (path) => Promise.reject(new Error(path)),
    checkServer: () => undefined,
    credentials: async () => ({ ...keys }),
    allowAmbientCredentials: false,
  });
}

/** Stock restic's whole look at it; anything but clean is an error. */
async function expectCleanToRestic(repository: Repository, keys: S3Keys = server.credentials): Promise<void> {
  const { accessKeyId, secretAccessKey } = keys;
  const env = { ...process.env, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, RESTIC_PASSWORD: 'secret' };
  const { stdout } = await run('restic', ['--no-cache', '--repo', repository.storage.location, 'check', '--read-data'], { env });
  expect(stdout).toContain('no errors were found');
}

async function expectWhole(repository: Repository, snapshotId: string, tree: MemoryFolder): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) expect((await check({ repository, level, clock })).findings).toEqual([]);
  expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(tree));
}

describe('a repository in a bucket with object locks', () => {
  it('is cleaned up when its locks end, and whole all the way', async () => {
    const bucket = await server.makeBucket({ objectLock: true });
    const repository = await createTestRepository(await open(bucket, { objectLock: { mode: 'governance', days: 1 } }));
    const { snapshotId: old } = await archiveTree(repository, first);
    const { snapshotId: kept } = await archiveTree(repository, second);
    const versions = await server.versionsIn(bucket);

    const { heldIds, held } = await findHeldSnapshots(repository, [old]);
    expect(heldIds).toEqual([old]);
    expect(held).toMatchObject({ snapshotCount: 1, endUnknownCount: 0 });
    expect(new Date(held?.firstFreeAt ?? 0) > new Date()).toBe(true);
    expect(await forget({ repository, snapshotIds: [old], clock })).toMatchObject({ forgottenIds: [], held });
    expect(await prune({ repository, clock, maxUnusedPercent: 0 })).toMatchObject({ packsDeleted: 0, packsRepacked: 0, bytesFreed: 0 });
    expect(await server.versionsIn(bucket)).toEqual(versions);
    await expectWhole(repository, old, first);
    await expectCleanToRestic(repository);

    // Restic forgets by hiding: what its snapshot alone needed is held still, and out of use.
    const snapshot = `snapshots/${old}`;
    await (await open(bucket)).delete(snapshot);
    const { held: packs, ...pruned } = await prune({ repository, clock, maxUnusedPercent: 0 });
    expect(pruned).toMatchObject({ packsDeleted: 0, packsRepacked: 0, bytesFreed: 0 });
    expect(packs?.packCount).toBeGreaterThan(0);
    expect(packs?.bytes).toBeGreaterThan(1_000_000);
    await expectWhole(repository, kept, second);
    await expectCleanToRestic(repository);

    await server.endLocks(bucket);
    const last = await prune({ repository, clock, maxUnusedPercent: 0 });
    expect(last.held).toBeUndefined();
    expect(last.bytesFreed).toBeGreaterThan(1_000_000);
    await expectWhole(repository, kept, second);
    await expectCleanToRestic(repository);
    // For good: what is there is what a listing shows, and what restic hid.
    const listed = (await Array.fromAsync(repository.storage.list(''))).map(({ name }) => `${prefix}/${name}`);
    const left = (await server.versionsIn(bucket)).filter(({ key }) => !listed.includes(key));
    expect(new Set(left.map(({ key }) => key).filter((key) => !key.startsWith(`${prefix}/locks/`)))).toEqual(
      new Set([`${prefix}/${snapshot}`]),
    );
  });
});

/** As docs/storages/s3.md gives them. */
const appendOnlyRights = {
  '': ['s3:ListBucket', 's3:GetBucketLocation'],
  [`${prefix}/*`]: ['s3:GetObject', 's3:PutObject', 's3:PutObjectRetention', 's3:GetObjectRetention'],
  [`${prefix}/locks/*`]: ['s3:DeleteObject', 's3:DeleteObjectVersion'],
};

describe('credentials that may add and not delete', () => {
  it.each([
    ['without object locks', false, {}],
    ['with object locks', true, { objectLock: { mode: 'compliance', days: 1 } }],
    ['and appendOnly', false, { appendOnly: true }],
  ])('back up, verify and recover %s', async (_, objectLock, more) => {
    const bucket = await server.makeBucket({ objectLock });
    await server.allowGuest(bucket, appendOnlyRights);
    const storage = await open(bucket, more, server.guestCredentials);
    const repository = await createTestRepository(storage);
    // Of a process that has died: stands in the way of nobody, and goes.
    const dead = { ...currentHolder(), hostname: 'elsewhere', pid: 1 };
    const longAgo = { ...clock, now: () => new Date(Date.now() - 24 * 60 * 60 * 1000) };
    await acquireLock(repository, { exclusive: true, holder: dead, clock: longAgo });
    const { snapshotId: old } = await archiveTree(repository, first);
    const { snapshotId } = await archiveTree(repository, second);
    expect(await Array.fromAsync(storage.list('locks/'))).toEqual([]);
    await expectWhole(repository, old, first);
    await expectWhole(repository, snapshotId, second);

    const before = (await Array.fromAsync(storage.list(''))).length;
    const forgetting = forget({ repository, snapshotIds: [old], clock });
    if (objectLock) expect(await forgetting).toMatchObject({ forgottenIds: [], held: { snapshotCount: 1 } });
    else await expect(forgetting).rejects.toMatchObject({ code: expect.stringMatching(/^storage_(?:denied|append_only)$/u) as string });
    expect(await Array.fromAsync(storage.list(''))).toHaveLength(before);
    expect(await listSnapshots(repository)).toHaveLength(2);
    await expectCleanToRestic(repository, server.guestCredentials);
  });

  it('work where not even locks may be deleted, which go stale', async () => {
    const bucket = await server.makeBucket();
    await server.allowGuest(bucket, { ...appendOnlyRights, [`${prefix}/locks/*`]: ['s3:GetObject'] });
    const repository = await createTestRepository(await open(bucket, {}, server.guestCredentials));
    const warnings: string[] = [];
    const dead = { ...currentHolder(), hostname: 'elsewhere', pid: 1 };
    const longAgo = { ...clock, now: () => new Date(Date.now() - 24 * 60 * 60 * 1000) };
    await acquireLock(repository, { exclusive: true, holder: dead, clock: longAgo });
    const { snapshotId } = await archiveTree(repository, second, { onWarning: (message: string) => void warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining('goes stale in 30 minutes')]);
    await expectWhole(repository, snapshotId, second);
    // The bucket's owner may remove them.
    const owned = await open(bucket);
    for await (const { name } of owned.list('locks/')) await owned.delete(name);
    await server.allowGuest(bucket, appendOnlyRights);
    await expectCleanToRestic(repository, server.guestCredentials);
  });
});
