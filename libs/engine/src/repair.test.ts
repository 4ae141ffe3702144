import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type Fault } from '@holdfast/storage/testing/faulty-storage';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { loadIndex } from './load-index.ts';
import { currentHolder } from './lock-holder.ts';
import { repair, type RepairResult } from './repair.ts';
import type { Repository } from './repository.ts';
import { listSnapshotIds, listSnapshots, loadSnapshot } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  openTestRepository,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const folder = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });
const big = { type: 'file', bytes: noise(400_000, 1) } as const;
const first = folder({ big, small: text('small'), sub: { type: 'dir', entries: { deep: text('deep') } } });
const second = folder({ big, other: text('other'), sub: { type: 'dir', entries: { deep: text('deep'), more: text('more') } } });

interface Damaged {
  readonly storage: Storage;
  readonly repository: Repository;
  readonly ids: readonly [string, string];
}

async function makeRepository(): Promise<Damaged> {
  const storage = openMemoryStorage();
  const repository = await createTestRepository(storage);
  const { snapshotId: one } = await archiveTree(repository, first, { tags: ['a'] });
  const { snapshotId: two } = await archiveTree(repository, second);
  return { storage, repository, ids: [one, two] };
}

const namesIn = async (storage: Storage, prefix: string): Promise<string[]> =>
  (await Array.fromAsync(storage.list(prefix))).map(({ name }) => name).toSorted();

async function replace(storage: Storage, name: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  const bytes = await storage.get(name);
  await storage.delete(name);
  await storage.put(name, change(bytes));
}

const flipAt =
  (offset: number) =>
  (bytes: Uint8Array): Uint8Array =>
    bytes.map((byte, at) => (at === offset ? byte ^ 1 : byte));

async function placeOf(repository: Repository, type: 'data' | 'tree', id: string): Promise<{ name: string; offset: number }> {
  const place = (await loadIndex(repository)).index.lookup(type, id);
  const { packId = '', offset = 0 } = place ?? {};
  return { name: `data/${packId.slice(0, 2)}/${packId}`, offset };
}

/** The id of the one blob of a small file, or of the tree of a folder. */
async function blobAt({ repository, ids }: Damaged, path: string, nth: 0 | 1 = 0): Promise<{ type: 'data' | 'tree'; id: string }> {
  const { createBlobLoader } = await import('./blob-loader.ts');
  const loader = createBlobLoader(repository, (await loadIndex(repository)).index);
  let blob: { type: 'data' | 'tree'; id: string } = { type: 'tree', id: (await loadSnapshot(repository, ids[nth])).tree };
  for (const name of path.split('/').filter(Boolean)) {
    const node = (await loader.loadTree(blob.id)).find((one) => one.name === name);
    blob = node?.subtree === undefined ? { type: 'data', id: node?.content?.[0] ?? '' } : { type: 'tree', id: node.subtree };
  }
  return blob;
}

async function expectClean(repository: Repository): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) {
    const { findings } = await check({ repository, level, clock });
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  }
}

async function expectBoth({ repository, ids }: Damaged): Promise<void> {
  expect(restoredContents(await restoreTree(repository, ids[0]))).toEqual(expectedContents(first));
  expect(restoredContents(await restoreTree(repository, ids[1]))).toEqual(expectedContents(second));
}

/** What it would do, then what it does: the same. */
async function repairTwice(
  repository: Repository,
  options: Pick<Parameters<typeof repair>[0], 'level' | 'snapshots'>,
): Promise<RepairResult> {
  const before = await namesIn(repository.storage, '');
  const dry = await repair({ repository, clock, ...options, dryRun: true });
  expect(await namesIn(repository.storage, '')).toEqual(before);
  const result = await repair({ repository, clock, ...options });
  expect({ ...dry, rewritten: [] }).toEqual({ ...result, dryRun: true, rewritten: [] });
  return result;
}

describe('repair', () => {
  it('leaves a whole repository alone', async () => {
    const damaged = await makeRepository();
    const before = await namesIn(damaged.storage, '');
    for (const level of ['index', 'packs'] as const) {
      const result = await repairTwice(damaged.repository, { level, snapshots: 'replace' });
      expect(result).toMatchObject({ isIndexRewritten: false, brokenPacks: [], lossCount: 0, rewritten: [] });
    }
    expect(await namesIn(damaged.storage, '')).toEqual(before);
  });

  it('makes the index again from the headers of packs', async () => {
    const damaged = await makeRepository();
    for (const name of await namesIn(damaged.storage, 'index/')) await damaged.storage.delete(name);
    const result = await repairTwice(damaged.repository, { level: 'index' });
    const packCount = (await namesIn(damaged.storage, 'data/')).length;
    expect(result).toMatchObject({ isIndexRewritten: true, packsIndexed: packCount, lossCount: 0 });
    await expectClean(damaged.repository);
    await expectBoth(damaged);
  });

  it('replaces a damaged index file', async () => {
    const damaged = await makeRepository();
    const [name = ''] = await namesIn(damaged.storage, 'index/');
    await replace(damaged.storage, name, flipAt(40));
    expect((await repairTwice(damaged.repository, { level: 'index' })).damagedIndexFiles).toHaveLength(1);
    await expectClean(damaged.repository);
    await expectBoth(damaged);
  });

  it('says which files a lost pack costs, and rewrites snapshots only when asked', async () => {
    const damaged = await makeRepository();
    const { storage, repository, ids } = damaged;
    const { type, id } = await blobAt(damaged, '/data/small');
    await storage.delete((await placeOf(repository, type, id)).name);
    const result = await repairTwice(repository, { level: 'index' });
    expect(result.missingPacks).toHaveLength(1);
    expect(result.losses.filter(({ path }) => path === '/data/small')).toMatchObject([{ snapshotId: ids[0], kind: 'file' }]);
    expect((await listSnapshotIds(repository)).toSorted()).toEqual([...ids].toSorted());

    const { rewritten } = await repair({ repository, level: 'index', snapshots: 'rewrite', clock });
    expect(rewritten.map(({ from }) => from)).toContain(ids[0]);
    // Asked again, it knows its own.
    expect((await repair({ repository, level: 'index', snapshots: 'rewrite', clock })).rewritten.toSorted(byFrom)).toEqual(
      rewritten.toSorted(byFrom),
    );
    const replaced = await repair({ repository, level: 'index', snapshots: 'replace', clock });
    expect(replaced.rewritten.toSorted(byFrom)).toEqual(rewritten.toSorted(byFrom));
    await expectClean(repository);
    for (const snapshot of await listSnapshots(repository)) {
      if (snapshot.original !== ids[0]) continue;
      expect(snapshot.tags).toEqual(['a', 'repaired']);
      const restored = restoredContents(await restoreTree(repository, snapshot.id));
      expect(restored.has('/data/small')).toBe(false);
      expect(restored.get('/data/sub')).toBe('dir');
    }
    expect((await repair({ repository, level: 'packs', snapshots: 'replace', clock })).lossCount).toBe(0);
  });

  it('drops a damaged blob, and moves the others out of its pack', async () => {
    const damaged = await makeRepository();
    const { type, id } = await blobAt(damaged, '/data/small');
    const { name, offset } = await placeOf(damaged.repository, type, id);
    await replace(damaged.storage, name, flipAt(offset + 20));
    expect(await repairTwice(damaged.repository, { level: 'index' })).toMatchObject({ isIndexRewritten: false, lossCount: 0 });
    const result = await repairTwice(damaged.repository, { level: 'packs', snapshots: 'replace' });
    expect(result.brokenPacks).toMatchObject([{ blobsLost: 1 }]);
    expect(result.brokenPacks[0]?.blobsSaved).toBeGreaterThan(0);
    expect(result.losses).toMatchObject([{ snapshotId: damaged.ids[0], path: '/data/small', kind: 'file' }]);
    await expectClean(damaged.repository);
    expect(await namesIn(damaged.storage, 'data/')).not.toContain(name);
    expect(restoredContents(await restoreTree(damaged.repository, damaged.ids[1]))).toEqual(expectedContents(second));
  });

  it('saves what the index knows of packs that are cut short or have lost their header', async () => {
    const damaged = await makeRepository();
    for (const name of await namesIn(damaged.storage, 'data/')) await replace(damaged.storage, name, (bytes) => bytes.subarray(0, -1));
    const result = await repairTwice(damaged.repository, { level: 'index' });
    expect(result).toMatchObject({ isIndexRewritten: true, lossCount: 0 });
    expect(result.brokenPacks.every(({ blobsLost }) => blobsLost === 0)).toBe(true);
    await expectClean(damaged.repository);
    await expectBoth(damaged);
  });

  it('names a lost folder once for all that is below it', async () => {
    const damaged = await makeRepository();
    const { type, id } = await blobAt(damaged, '/data/sub', 1);
    const { name, offset } = await placeOf(damaged.repository, type, id);
    await replace(damaged.storage, name, flipAt(offset + 20));
    const result = await repairTwice(damaged.repository, { level: 'packs', snapshots: 'replace' });
    expect(result.losses).toMatchObject([{ snapshotId: damaged.ids[1], path: '/data/sub', kind: 'folder' }]);
    await expectClean(damaged.repository);
    expect(restoredContents(await restoreTree(damaged.repository, damaged.ids[0]))).toEqual(expectedContents(first));
    const restored = restoredContents(await restoreTree(damaged.repository, result.rewritten[0]?.to ?? ''));
    expect([...restored.keys()].toSorted()).toEqual(['/data', '/data/big', '/data/other']);
  });

  it('leaves nothing damaged but what has lost its top, whatever is damaged', async () => {
    const { storage: whole } = await makeRepository();
    const names = [...(await namesIn(whole, 'data/')), ...(await namesIn(whole, 'index/'))];
    const damage = fc.record({
      name: fc.constantFrom(...names),
      kind: fc.constantFrom('delete', 'flip', 'cut', 'empty'),
      share: fc.double({ min: 0, max: 0.999, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
        const storage = await cloneOf(whole);
        for (const { name, kind, share } of new Map(damages.map((one) => [one.name, one])).values()) {
          if (kind === 'delete') await storage.delete(name);
          else if (kind === 'empty') await replace(storage, name, () => new Uint8Array());
          else if (kind === 'cut') await replace(storage, name, (bytes) => bytes.slice(0, Math.floor(bytes.length * share)));
          else await replace(storage, name, (bytes) => flipAt(Math.floor(bytes.length * share))(bytes));
        }
        const repository = await openTestRepository(storage);
        const { rewritten, damagedSnapshots } = await repairTwice(repository, { level: 'packs', snapshots: 'replace' });
        const { damagedSnapshots: left } = await repair({ repository, level: 'packs', clock });
        expect(left.length).toBe(damagedSnapshots.length - rewritten.length);
        const readable = (await listSnapshotIds(repository)).filter((id) => !left.includes(id));
        for (const level of ['integrity', 'checksum'] as const) {
          expect((await check({ repository, level, snapshotIds: readable, clock })).damageCount).toBe(0);
        }
        for (const id of readable) await restoreTree(repository, id);
      }),
      { numRuns: 20 },
    );
  });

  it('loses nothing that it could have kept, whatever operation of it fails', async () => {
    const damaged = await makeRepository();
    const { type, id } = await blobAt(damaged, '/data/small');
    const { name, offset } = await placeOf(damaged.repository, type, id);
    await replace(damaged.storage, name, flipAt(offset + 20));
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    for (let number = 1; ; number++) {
      let isBeyondEnd = true;
      for (const fault of ['before', 'after', 'crash-before', 'crash-after'] satisfies Fault[]) {
        const storage = await cloneOf(damaged.storage);
        const faulty = openFaultyStorage(storage, faultAt(number, fault));
        await openTestRepository(faulty)
          .then((repository) => repair({ repository, level: 'packs', snapshots: 'replace', clock, holder }))
          .catch(() => {});
        isBeyondEnd &&= faulty.operationCount < number;
        const repository = await openTestRepository(storage);
        expect(restoredContents(await restoreTree(repository, damaged.ids[1]))).toEqual(expectedContents(second));
        await repair({ repository, level: 'packs', snapshots: 'replace', clock });
        await expectClean(repository);
        expect(await listSnapshotIds(repository)).toHaveLength(2);
      }
      if (isBeyondEnd) return expect(number).toBeGreaterThan(20);
    }
  });
});

const byFrom = (a: { from: string }, b: { from: string }): number => (a.from < b.from ? -1 : 1);

async function cloneOf(from: Storage): Promise<Storage> {
  const to = openMemoryStorage();
  for await (const { name } of from.list('')) await to.put(name, await from.get(name));
  return to;
}
