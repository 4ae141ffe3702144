import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type FaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ArchiveOptions } from './archiver.ts';
import { createBlobIndex } from './blob-index.ts';
import { check } from './checker.ts';
import { forget } from './forget.ts';
import { addKey, changePassword } from './keys.ts';
import { currentHolder } from './lock-holder.ts';
import { prune } from './pruner.ts';
import { openRepositoryCache, type RepositoryCache } from './repository-cache.ts';
import type { Repository } from './repository.ts';
import { chooseParent, listSnapshots } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import {
  archiveTree,
  cheapKdf,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  openTestRepository,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const treeOf = (files: Record<string, Uint8Array>): MemoryFolder => ({
  data: { type: 'dir', entries: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, { type: 'file', bytes }])) },
});
const tree = treeOf({ a: noise(30_000, 1), b: noise(40_000, 2) });

/** Counts what is asked of it. */
const watched = (storage: Storage): FaultyStorage => openFaultyStorage(storage, () => undefined);
const names = (storage: FaultyStorage, kind: string): string[] =>
  storage.operations.filter((operation) => operation.kind === kind).map(({ name }) => name.slice(0, name.indexOf('/') + 1) || name);

async function makeRepository(): Promise<Storage> {
  const storage = openMemoryStorage();
  await createTestRepository(storage);
  return storage;
}

async function backUp(cache: RepositoryCache, storage: Storage, what = tree, options: Partial<ArchiveOptions> = {}) {
  await using repository = await cache.open({ storage, password: 'secret' });
  const parent = chooseParent(await listSnapshots(repository), { hostname: 'host', paths: ['/data'] });
  return await archiveTree(repository, what, { ...(parent === undefined ? {} : { parent }), ...options });
}

async function expectWhole(storage: Storage, snapshotId: string, what: MemoryFolder): Promise<void> {
  const repository = await openTestRepository(storage);
  expect((await check({ repository, level: 'checksum', clock })).damageCount).toBe(0);
  expect((await check({ repository, level: 'integrity', clock })).damageCount).toBe(0);
  expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(what));
}

describe('repository cache', () => {
  it('opens again with no key derivation, and reads no index file and no snapshot twice', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage);
    await backUp(cache, storage);
    const second = watched(storage);
    const { summary } = await backUp(cache, second);
    expect(summary).toMatchObject({ filesUnmodified: 2, dataBlobs: 0, treeBlobs: 0 });
    expect(names(second, 'get').filter((name) => name === 'index/' || name === 'keys/')).toEqual([]);
    expect(names(second, 'get').filter((name) => name === 'snapshots/')).toHaveLength(1);
    expect(cache.counts()).toMatchObject({ coldOpens: 1, warmOpens: 2, filesRead: 0, resets: 0, repositories: 1 });
  });

  it('refuses another password, and keeps what it has', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await cache.open({ storage, password: 'secret' });
    for (const password of ['', 'Secret', 'secret ']) {
      await expect(cache.open({ storage, password })).rejects.toMatchObject({ code: 'repository_password_wrong' });
    }
    await cache.open({ storage, password: 'secret' });
    expect(cache.counts()).toMatchObject({ coldOpens: 1, warmOpens: 1 });
  });

  it('takes another password that is right, and keeps the index', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage);
    await addKey({ repository: await openTestRepository(storage), password: 'other', kdf: cheapKdf, clock });
    await using repository = await cache.open({ storage, password: 'other' });
    expect((await archiveTree(repository, tree)).summary.dataBlobs).toBe(0);
    expect(cache.counts()).toMatchObject({ coldOpens: 2, filesRead: 0 });
  });

  it('does not open with a key that was removed', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage);
    await changePassword({ repository: await openTestRepository(storage), password: 'new', kdf: cheapKdf, clock });
    await expect(cache.open({ storage, password: 'secret' })).rejects.toMatchObject({ code: 'repository_password_wrong' });
    await cache.open({ storage, password: 'new' });
  });

  it('notices another repository in the same place, and one that is gone', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    const { id } = await cache.open({ storage, password: 'secret' });
    await backUp(cache, storage);
    // The key stays: it is taken up by the next one, which has another config.
    for await (const { name } of storage.list('')) if (!name.startsWith('keys/')) await storage.delete(name);
    await expect(cache.open({ storage, password: 'secret' })).rejects.toMatchObject({ code: 'repository_missing' });
    await createTestRepository(storage);
    expect((await cache.open({ storage, password: 'secret' })).id).not.toBe(id);
    const { snapshotId, summary } = await backUp(cache, storage);
    expect(summary.dataBlobs).toBe(2);
    await expectWhole(storage, snapshotId, tree);
  });

  it('takes in what other processes write', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage);
    const theirs = treeOf({ c: noise(50_000, 3) });
    await archiveTree(await openTestRepository(storage), theirs);
    const { summary } = await backUp(cache, storage, theirs);
    expect(summary).toMatchObject({ dataBlobs: 0 });
    expect(cache.counts()).toMatchObject({ filesRead: 1, resets: 0 });
  });

  it('trusts no blob whose pack another process has pruned', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    const gone = await backUp(cache, storage);
    const kept = await backUp(cache, storage, treeOf({ a: noise(30_000, 1) }));
    const other = await openTestRepository(storage);
    await forget({ repository: other, snapshotIds: [gone.snapshotId], clock });
    await prune({ repository: other, maxUnusedPercent: 0, clock });
    const again = await backUp(cache, storage);
    expect(again.summary).toMatchObject({ dataBlobs: 1 });
    expect(cache.counts()).toMatchObject({ resets: 1 });
    await expectWhole(storage, again.snapshotId, tree);
    await expectWhole(storage, kept.snapshotId, treeOf({ a: noise(30_000, 1) }));
  });

  it('trusts no blob of a backup that failed before its index was written', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    const failing = openFaultyStorage(storage, ({ kind, name }) => (kind === 'put' && name.startsWith('index/') ? 'before' : undefined));
    await expect(backUp(cache, failing)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
    const { snapshotId, summary } = await backUp(cache, storage);
    expect(summary).toMatchObject({ dataBlobs: 2 });
    await expectWhole(storage, snapshotId, tree);
  });

  it('trusts nothing too much after a failure, whatever operation it was', async () => {
    const third = treeOf({ a: noise(30_000, 1), c: noise(50_000, 3) });
    const deadHolder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    let isBeyondEnd = false;
    for (let number = 1; !isBeyondEnd; number++) {
      isBeyondEnd = true;
      for (const fault of ['before', 'after', 'crash-before', 'crash-after'] as const) {
        const storage = await makeRepository();
        using cache = openRepositoryCache();
        const first = await backUp(cache, storage);
        const faulty = openFaultyStorage(storage, faultAt(number, fault));
        await backUp(cache, faulty, third, { holder: deadHolder }).catch(() => {});
        isBeyondEnd &&= faulty.operationCount < number;
        const { snapshotId } = await backUp(cache, storage, third);
        await expectWhole(storage, snapshotId, third);
        await expectWhole(storage, first.snapshotId, tree);
      }
    }
  });

  it('is shared by backups that run at once, which see what the others have made durable', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    const trees = Array.from({ length: 8 }, (_, nth) => treeOf({ same: noise(60_000, 7), own: noise(20_000 + nth, 100 + nth) }));
    const results = await Promise.all(trees.map((what) => backUp(cache, storage, what)));
    for (const [nth, { snapshotId }] of results.entries()) await expectWhole(storage, snapshotId, trees[nth] ?? {});
    const after = await Promise.all(trees.map((what) => backUp(cache, storage, what)));
    expect(after.map(({ summary }) => summary.dataBlobs)).toEqual(trees.map(() => 0));
    expect(cache.counts().repositories).toBe(1);
  });

  it('shows a running backup what another one has made durable meanwhile', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await using first = await cache.open({ storage, password: 'secret' });
    await using second = await cache.open({ storage, password: 'secret' });
    const index = await first.indexMirror?.refresh(first);
    const { treeId } = await archiveTree(second, tree);
    expect(index?.has('tree', treeId)).toBe(true);
  });

  it('reads index and snapshots afresh with keysOnly', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage);
    await using repository = await cache.open({ storage, password: 'secret', keysOnly: true });
    expect(repository.indexMirror ?? repository.knownSnapshots).toBeUndefined();
    for await (const { name } of storage.list('index/')) await storage.delete(name);
    expect((await check({ repository, level: 'integrity', clock })).damageCount).toBeGreaterThan(0);
  });

  it('keeps no more repositories and bytes than it may, and drops the least recently used', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-cache-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const places = ['a', 'b', 'c'];
    for (const name of places) await createTestRepository(await openLocalStorage({ path: join(folder, name) }));
    const open = async (cache: RepositoryCache, name = ''): Promise<Repository> =>
      await cache.open({ storage: await openLocalStorage({ path: join(folder, name) }), password: 'secret' });

    using few = openRepositoryCache({ maxRepositories: 2 });
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await (await open(few, name)).close();
    expect(few.counts()).toMatchObject({ coldOpens: 4, warmOpens: 2, repositories: 2, evictions: 2 });

    const oneIndexBytes = createBlobIndex().heldBytes;
    using small = openRepositoryCache({ maxHeldBytes: oneIndexBytes * 2.5 });
    for (const name of places) {
      await using repository = await open(small, name);
      await archiveTree(repository, treeOf({ [name]: noise(1000, 5) }));
    }
    expect(small.counts().heldBytes).toBeLessThanOrEqual(oneIndexBytes * 2.5);
    expect(small.counts()).toMatchObject({ coldOpens: 3, warmOpens: 0, repositories: 3, evictions: 1 });
    await (await open(small, 'a')).close();
    expect(small.counts()).toMatchObject({ coldOpens: 3, warmOpens: 1 });
  });

  it('forgets what it is told to', async () => {
    const storage = await makeRepository();
    using cache = openRepositoryCache();
    await backUp(cache, storage, { data: { type: 'dir', entries: { a: text('a') } } });
    cache.evict(storage.location);
    expect(cache.counts()).toMatchObject({ repositories: 0, heldBytes: 0, evictions: 1 });
    await backUp(cache, storage);
    expect(cache.counts()).toMatchObject({ coldOpens: 2, filesRead: 1 });
  });
});
