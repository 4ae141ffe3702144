import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { describe, expect, it } from 'vitest';
import { createBlobLoader } from './blob-loader.ts';
import { check, type CheckLevel } from './checker.ts';
import type { Finding } from './finding.ts';
import { loadIndex } from './load-index.ts';
import type { Repository } from './repository.ts';
import { restore } from './restorer.ts';
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

async function makeRepository(): Promise<{ storage: Storage; repository: Repository; snapshotId: string }> {
  const storage = openMemoryStorage();
  const repository = await createTestRepository(storage);
  const { snapshotId } = await archiveTree(repository, tree);
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
    expect(restored.failed).toEqual([{ path: hit?.affected[0]?.path, reason: expect.stringContaining(blob.packId) as string }]);
    expect(restored.filesRestored).toBe(2);
  });

  it('finds damaged trees when it walks them', async () => {
    const { storage, repository, snapshotId } = await makeRepository();
    const blob = await placeOfTreeWith(repository, 'b.txt');
    await rewrite(storage, blob.name, flip(blob.offset));
    const damage = await damageOf(repository, 'integrity');
    expect(damage).toMatchObject([{ kind: 'tree_damaged', blobId: blob.id, affected: [{ snapshotId, path: '/data/sub' }] }]);
    const restored = await restore({ repository, snapshotId, target: openMemoryTarget(), clock });
    expect(restored.failed).toMatchObject([{ path: '/data/sub' }]);
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

  it('misses a snapshot that was asked for', async () => {
    const { repository } = await makeRepository();
    const { findings } = await check({ repository, level: 'integrity', snapshotIds: ['0'.repeat(64)], clock });
    expect(findings).toMatchObject([{ kind: 'snapshot_missing' }]);
  });
});
