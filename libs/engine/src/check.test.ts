import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PackedBlob } from '@holdfast/restic-format/pack';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { createBlobLoader } from './blob-loader.ts';
import { createBlobUnpacker } from './blob-unpacker.ts';
import { checkPack } from './check-pack.ts';
import { check, type CheckLevel } from './checker.ts';
import type { Finding } from './finding.ts';
import { loadIndex } from './load-index.ts';
import { objectOfBytes } from './pack-object.ts';
import { PackedEntries } from './packed-entries.ts';
import type { EngineProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { restore } from './restorer.ts';
import { createSegmentUnpacker } from './segment-unpacker.ts';
import { openThreadPool } from './threads/thread-pool.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { openMemoryTarget } from './testing/memory-target.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';

const tree: MemoryFolder = {
  data: {
    type: 'dir',
    entries: {
      'a.txt': text('aaa'),
      big: { type: 'file', bytes: noise(3_000_000, 3) },
      sub: { type: 'dir', entries: { 'b.txt': text('bbb') } },
    },
  },
};

async function rewrite(storage: Storage, name: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  const bytes = await storage.get(name);
  await storage.delete(name);
  await storage.put(name, change(bytes));
}

const flip = (at: number) => (bytes: Uint8Array) => bytes.with(at < 0 ? bytes.length + at : at, (bytes.at(at) ?? 0) ^ 4);

async function makeRepository(storage = openMemoryStorage()): Promise<{ storage: Storage; repository: Repository; snapshotId: string }> {
  const repository = await createTestRepository(storage);
  // By one thread: all data is then in one pack.
  const { snapshotId } = await archiveTree(repository, tree, { concurrency: 0 });
  return { storage, repository, snapshotId };
}

async function damageOf(repository: Repository, level: CheckLevel): Promise<readonly Finding[]> {
  const { findings, damageCount } = await check({ repository, level, clock });
  const damage = findings.filter(({ severity }) => severity === 'damage');
  expect(damage).toHaveLength(damageCount);
  return damage;
}

/** The pack and place of a blob of a file or tree. */
async function placeOf(repository: Repository, type: 'data' | 'tree', nth: number) {
  const { index } = await loadIndex(repository);
  const blobs = Array.from({ length: index.entryCount }, (_, entry) => index.at(entry)).filter((blob) => blob.type === type);
  const blob = blobs.at(nth);
  if (blob === undefined) throw new Error('no such blob');
  return { ...blob, name: `data/${blob.packId.slice(0, 2)}/${blob.packId}` };
}

/** The place of the tree that holds an entry of this name: which pack has it is chance. */
async function placeOfTreeWith(repository: Repository, name: string) {
  const { index } = await loadIndex(repository);
  const loader = createBlobLoader(repository, index);
  for (let nth = 0; ; nth++) {
    const blob = await placeOf(repository, 'tree', nth);
    if ((await loader.loadTree(blob.id)).some((node) => node.name === name)) return blob;
  }
}

describe('check', () => {
  it('finds nothing in a whole repository, and counts what it looked at', async () => {
    const { repository } = await makeRepository();
    const checksum = await check({ repository, level: 'checksum', clock });
    expect(checksum).toMatchObject({ findings: [], findingCount: 0, damageCount: 0, snapshotsChecked: 1 });
    expect(checksum.bytesRead).toBeGreaterThan(3_000_000);
    const integrity = await check({ repository, level: 'integrity', clock });
    expect(integrity).toMatchObject({ findings: [], treesChecked: 3, blobsChecked: checksum.blobsChecked });
  });

  it('finds a flipped byte in every class of file', async () => {
    const { storage, repository } = await makeRepository();
    for (const folder of ['data/', 'index/', 'snapshots/', 'keys/']) {
      const objects = await Array.fromAsync(storage.list(folder));
      expect(objects.length).toBeGreaterThan(0);
      for (const { name, sizeBytes } of objects) {
        for (const at of [0, 20, Math.floor(sizeBytes / 2), -1]) {
          await rewrite(storage, name, flip(at));
          expect((await damageOf(repository, 'checksum')).map(({ objectName }) => objectName)).toContain(name);
          await rewrite(storage, name, flip(at));
        }
      }
    }
    expect(await damageOf(repository, 'checksum')).toEqual([]);
  });

  it('names the files that a damaged data blob hits, also for one snapshot alone', async () => {
    const { storage, repository, snapshotId } = await makeRepository();
    const blob = await placeOf(repository, 'data', 0);
    await rewrite(storage, blob.name, flip(blob.offset + 17));
    const damage = await damageOf(repository, 'checksum');
    expect(damage.map(({ kind }) => kind).toSorted()).toEqual(['blob_damaged', 'object_hash_wrong']);
    const hit = damage.find(({ kind }) => kind === 'blob_damaged');
    expect(hit).toMatchObject({ blobId: blob.id, packId: blob.packId, affectedCount: 1 });
    expect(hit?.affected[0]?.snapshotId).toBe(snapshotId);
    const one = await check({ repository, level: 'checksum', snapshotIds: [snapshotId], clock });
    expect(one.damageCount).toBe(2);

    const target = openMemoryTarget();
    const restored = await restore({ repository, snapshotId, target, clock });
    expect(restored.failed).toMatchObject([{ path: hit?.affected[0]?.path, reason: expect.stringContaining(blob.packId) as string }]);
    expect(restored.filesRestored).toBe(2);
  });

  it('finds damaged trees when it walks them', async () => {
    const { storage, repository, snapshotId } = await makeRepository();
    const blob = await placeOfTreeWith(repository, 'b.txt');
    await rewrite(storage, blob.name, flip(blob.offset));
    const damage = await damageOf(repository, 'integrity');
    // Which tree comes first is a matter of chance.
    const [path = ''] = damage.flatMap(({ affected }) => affected.map((one) => one.path));
    expect(['/data', '/data/sub']).toContain(path);
    expect(damage).toMatchObject([{ kind: 'tree_damaged', blobId: blob.id, affected: [{ snapshotId, path }] }]);
    const restored = await restore({ repository, snapshotId, target: openMemoryTarget(), clock });
    expect(restored.failed).toMatchObject([{ path }]);
  });

  it('finds packs that are gone or cut short, and a gone index', async () => {
    const gone = await makeRepository();
    const blob = await placeOf(gone.repository, 'data', 0);
    await gone.storage.delete(blob.name);
    for (const level of ['integrity', 'checksum'] as const) {
      const damage = await damageOf(gone.repository, level);
      expect(damage).toMatchObject([{ kind: 'pack_missing', packId: blob.packId, affectedCount: 3 }]);
    }

    const short = await makeRepository();
    const cut = await placeOf(short.repository, 'data', 0);
    await rewrite(short.storage, cut.name, (bytes) => bytes.subarray(0, -1));
    expect(await damageOf(short.repository, 'integrity')).toMatchObject([{ kind: 'pack_size_wrong', packId: cut.packId }]);

    const blind = await makeRepository();
    for await (const { name } of blind.storage.list('index/')) await blind.storage.delete(name);
    const { findings } = await check({ repository: blind.repository, level: 'integrity', clock });
    expect(findings.map(({ kind, severity }) => [kind, severity])).toEqual([
      ['blob_not_indexed', 'damage'],
      ['pack_not_indexed', 'warning'],
      ['pack_not_indexed', 'warning'],
    ]);
    expect(findings[0]?.affected).toMatchObject([{ path: '/' }]);
  });

  it.each(['snapshots/', 'index/', 'data/'])('finds nothing missing when a backup runs and ends after %s was listed', async (folder) => {
    const { storage, repository } = await makeRepository();
    const list = storage.list.bind(storage);
    let isDone = false;
    storage.list = async function* (prefix, options) {
      yield* await Array.fromAsync(list(prefix, options));
      if (prefix !== folder || isDone) return;
      isDone = true;
      await archiveTree(repository, { 'new.txt': text('new') });
    };
    const { findings } = await check({ repository, level: 'integrity', clock });
    expect(isDone).toBe(true);
    const kinds = new Set(findings.map(({ kind }) => kind));
    // What was written after the index was read is in no index yet, as far as this check knows.
    kinds.delete('pack_not_indexed');
    expect(kinds).toEqual(new Set());
  });

  it('misses a snapshot that was asked for', async () => {
    const { repository } = await makeRepository();
    const { findings } = await check({ repository, level: 'integrity', snapshotIds: ['0'.repeat(64)], clock });
    expect(findings).toMatchObject([{ kind: 'snapshot_missing' }]);
  });
});

describe('check in threads', () => {
  const pool = openThreadPool({ concurrency: 2 });
  afterAll(() => pool.close());

  async function onDisk(): Promise<{ storage: Storage; repository: Repository; snapshotId: string }> {
    const path = await mkdtemp(join(tmpdir(), 'holdfast-check-'));
    onTestFinished(() => rm(path, { recursive: true }));
    return await makeRepository(await openLocalStorage({ path }));
  }

  it.each([
    ['reading by themselves', onDisk],
    ['with packs brought to them', () => makeRepository()],
  ])('finds the same as without, %s', async (_name, make) => {
    const { storage, repository, snapshotId } = await make();
    const both = async () => [
      await check({ repository, level: 'full', clock, concurrency: 1 }),
      await check({ repository, level: 'full', clock, pool }),
    ];
    const [calm, calmToo] = await both();
    expect(calm).toMatchObject({ findings: [], snapshotsChecked: 1, treesChecked: 3 });
    expect(calmToo).toEqual(calm);
    const [data, treeBlob] = [await placeOf(repository, 'data', 0), await placeOf(repository, 'tree', -1)];
    for (const damage of [flip(data.offset + 40), (bytes: Uint8Array) => bytes.subarray(0, -1), flip(-20)]) {
      const whole = await storage.get(data.name);
      await rewrite(storage, data.name, damage);
      const [here, there] = await both();
      expect(here?.damageCount).toBeGreaterThan(0);
      expect(there).toEqual(here);
      expect(here?.findings.some(({ packId }) => packId === data.packId)).toBe(true);
      await rewrite(storage, data.name, () => whole);
    }
    await rewrite(storage, treeBlob.name, flip(treeBlob.offset + 40));
    const [here, there] = await both();
    expect(here?.findings.map(({ kind }) => kind)).toContain('tree_damaged');
    expect(there).toEqual(here);
    const one = await check({ repository, level: 'full', snapshotIds: [snapshotId], clock, pool });
    expect(one.damageCount).toBeGreaterThan(0);
    await storage.delete(data.name);
    expect((await check({ repository, level: 'full', clock, pool })).findings.map(({ kind }) => kind)).toContain('pack_missing');
  });

  it('reads a pack whose blobs the index has in the wrong places, and one with a huge gap', async () => {
    const { repository } = await makeRepository();
    const { packId, name } = await placeOf(repository, 'data', 0);
    const { index } = await loadIndex(repository);
    const blobs = [...index.packs()].find((pack) => pack.packId === packId)?.entries.map((entry) => index.at(entry)) ?? [];
    const bytes = await repository.storage.get(name);
    const { cipher, masterKeys } = repository;
    const [segments, unpacker] = [createSegmentUnpacker(masterKeys), createBlobUnpacker(masterKeys)];
    const tools = { segments, unpacker, cipher, throwIfAborted: () => {} };
    const kindsOf = (indexed: PackedBlob[]): string[] =>
      checkPack({ packId, indexed: PackedEntries.of(indexed), readsTrees: false }, objectOfBytes(bytes), tools).findings.map(
        ({ kind }) => kind,
      );
    expect(kindsOf(blobs)).toEqual([]);
    expect(kindsOf(blobs.toReversed())).toEqual([]);
    const wrong = (change: Partial<PackedBlob>): PackedBlob[] => blobs.map((blob, nth) => (nth === 0 ? { ...blob, ...change } : blob));
    for (const change of [
      { offset: 7 },
      { offset: 2 ** 31 },
      { length: 2 ** 31 },
      { length: 0 },
      { length: 40 },
      { uncompressedLength: 5 },
    ]) {
      expect(new Set(kindsOf(wrong(change)))).toEqual(new Set(['index_entry_wrong', 'blob_damaged']));
    }
    expect(kindsOf(blobs.slice(-1))).toEqual(blobs.length === 1 ? [] : ['index_entry_wrong']);
  });

  it('ends within a second when aborted', async () => {
    const { repository } = await onDisk();
    const abort = new AbortController();
    let abortedAt = 0;
    const onProgress = ({ phase }: EngineProgress): void => {
      if (phase !== 'checking_packs') return;
      abortedAt = performance.now();
      abort.abort(new Error('enough'));
    };
    const running = check({ repository, level: 'full', clock, pool, signal: abort.signal, onProgress });
    await expect(running).rejects.toThrow('enough');
    expect(performance.now() - abortedAt).toBeLessThan(1000);
  });
});
