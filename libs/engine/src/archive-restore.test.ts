import { bytesOfName, nameOfBytes } from '@holdfast/restic-format/file-name';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { restore } from './restorer.ts';
import { listSnapshots, loadSnapshot } from './snapshots.ts';
import { openMemorySource, type MemoryEntry, type MemoryFolder } from './testing/memory-source.ts';
import { openMemoryTarget } from './testing/memory-target.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock,
  noise,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

/** Any bytes that a file system takes for a name. */
const fileName = fc
  .oneof(fc.string({ minLength: 1, maxLength: 12 }), fc.uint8Array({ minLength: 1, maxLength: 12 }).map(nameOfBytes))
  .filter((name) => !/[/\0]/.test(name) && name !== '.' && name !== '..' && name !== '__proto__')
  .filter((name) => nameOfBytes(bytesOfName(name)) === name);

const { entry } = fc.letrec<{ entry: MemoryEntry; folder: MemoryEntry; file: MemoryEntry; symlink: MemoryEntry }>((tie) => ({
  file: fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes): MemoryEntry => ({ type: 'file', bytes })),
    fc.integer({ min: 0, max: 50 }).map((seed): MemoryEntry => ({ type: 'file', bytes: noise(40_000 * seed, seed) })),
  ),
  symlink: fileName.map((linkTarget): MemoryEntry => ({ type: 'symlink', linkTarget })),
  folder: fc
    .dictionary(fileName, tie('entry'), { maxKeys: 5, noNullPrototype: true })
    .map((entries): MemoryEntry => ({ type: 'dir', entries })),
  entry: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('file'), tie('symlink'), tie('folder')),
}));
const trees = fc.dictionary(fileName, entry, { minKeys: 1, maxKeys: 6, noNullPrototype: true }).map((tree): MemoryFolder => tree);

const sample: MemoryFolder = {
  data: {
    type: 'dir',
    entries: {
      'a.txt': text('hello'),
      empty: text(''),
      big: { type: 'file', bytes: noise(5_000_000, 1) },
      link: { type: 'symlink', linkTarget: '../a.txt' },
      pipe: { type: 'fifo' },
      socket: { type: 'socket' },
      sub: { type: 'dir', entries: { 'b.txt': text('hello'), deep: { type: 'dir', entries: { 'c.txt': text('c') } } } },
      'sub-2': { type: 'dir', entries: {} },
    },
  },
};

describe('archive and restore', () => {
  it('give back what was there', async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (tree) => {
        const repository = await createTestRepository();
        const { snapshotId } = await archiveTree(repository, tree);
        expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(tree));
      }),
      { numRuns: 15 },
    );
  });

  it('keep modes, times and owners, and store a second copy of the same content once', async () => {
    const repository = await createTestRepository();
    const { snapshotId, summary, skippedCount } = await archiveTree(repository, sample);
    expect(skippedCount).toBe(0);
    expect(summary).toMatchObject({ filesNew: 5, dirsNew: 4, totalFilesProcessed: 5, totalBytesProcessed: 5_000_011 });
    const target = await restoreTree(repository, snapshotId);
    const big = target.entries.get('/data/big')?.node;
    expect(big).toMatchObject({ mode: 0o644, modifiedNs: 1_700_000_000_123_456_789n, uid: 1000, gid: 1000, sizeBytes: 5_000_000 });
    expect(target.entries.get('/data/socket')?.node.type).toBe('socket');
    const snapshot = await loadSnapshot(repository, snapshotId);
    expect(snapshot.summary).toMatchObject(summary);
    const { findings } = await check({ repository, level: 'checksum', clock: impatientClock });
    expect(findings).toEqual([]);
  });

  it('read only what has changed since the parent, and upload nothing when nothing has', async () => {
    const repository = await createTestRepository();
    await archiveTree(repository, sample);
    const [parent] = await listSnapshots(repository);
    const source = openMemorySource(sample);
    const again = await archiveTree(repository, sample, { source, ...(parent ? { parent } : {}) });
    expect(source.openedPaths).toEqual([]);
    expect(again.treeId).toBe(parent?.tree);
    expect(again.summary).toMatchObject({ filesUnmodified: 5, dirsUnmodified: 4, dataBlobs: 0, treeBlobs: 0, dataAdded: 0 });

    const changed: MemoryFolder = {
      data: { type: 'dir', entries: { 'a.txt': { type: 'file', bytes: Buffer.from('hullo'), modifiedNs: 5n } } },
    };
    const third = await archiveTree(repository, changed, parent ? { parent } : {});
    expect(third.summary).toMatchObject({ filesChanged: 1, filesNew: 0, dirsChanged: 1, dataBlobs: 1 });
  });

  it('store files that grow or shrink as read, and list those that vanish or are denied', async () => {
    const repository = await createTestRepository();
    const source = openMemorySource(sample, {
      changed: new Map([
        ['/data/a.txt', Buffer.from('much longer than it was')],
        ['/data/big', Buffer.from('short')],
      ]),
      unreadable: new Map([
        ['/data/empty', 'path_not_found'],
        ['/data/sub/b.txt', 'path_not_readable'],
        ['/data/sub/deep', 'path_not_found'],
      ]),
    });
    const { snapshotId, skipped, summary } = await archiveTree(repository, sample, { source });
    expect(skipped.map(({ path }) => path).toSorted()).toEqual(['/data/empty', '/data/sub/b.txt', '/data/sub/deep']);
    expect(summary.totalFilesProcessed).toBe(2);
    const contents = restoredContents(await restoreTree(repository, snapshotId));
    expect(contents.get('/data/a.txt')).toBe(`file ${Buffer.from('much longer than it was').toString('base64')}`);
    expect(contents.get('/data/big')).toBe(`file ${Buffer.from('short').toString('base64')}`);
  });

  it('end within a second when aborted, and leave no snapshot and no lock', async () => {
    const repository = await createTestRepository();
    const abort = new AbortController();
    let reads = 0;
    const source = openMemorySource(sample, {
      beforeRead: async () => {
        reads++;
        if (reads === 4) abort.abort(new Error('enough'));
      },
    });
    const startedAt = performance.now();
    await expect(archiveTree(repository, sample, { source, signal: abort.signal })).rejects.toThrow('enough');
    expect(performance.now() - startedAt).toBeLessThan(1000);
    expect(await listSnapshots(repository)).toEqual([]);
    expect(await Array.fromAsync(repository.storage.list('locks/'))).toEqual([]);
  });

  it('write the snapshot inside commit, and none when commit refuses', async () => {
    const repository = await createTestRepository();
    const refused = archiveTree(repository, sample, { commit: () => Promise.reject(new Error('fenced')) });
    await expect(refused).rejects.toThrow('fenced');
    expect(await listSnapshots(repository)).toEqual([]);
    const twice = await archiveTree(repository, sample, { commit: async (write) => (await write(), await write()) });
    expect((await listSnapshots(repository)).map(({ id }) => id)).toEqual([twice.snapshotId]);
  });

  it('refuse a source that shows nothing', async () => {
    const repository = await createTestRepository();
    await expect(archiveTree(repository, {})).rejects.toSatisfy((error) => isHoldfastError(error, 'path_not_found'));
  });

  it('restore the selected part with the folders above it, and say when there is none', async () => {
    const repository = await createTestRepository();
    const { snapshotId } = await archiveTree(repository, sample);
    const target = openMemoryTarget();
    const select = { paths: ['/data/sub/', '/data/a.txt', '/data/none'] };
    const result = await restore({ repository, snapshotId, target, select, clock: impatientClock });
    expect([...target.entries.keys()].toSorted()).toEqual([
      '/data',
      '/data/a.txt',
      '/data/sub',
      '/data/sub/b.txt',
      '/data/sub/deep',
      '/data/sub/deep/c.txt',
    ]);
    expect(result.warnings).toEqual([{ path: '/data/none', reason: 'is not in the snapshot' }]);
    const missing = openMemoryTarget();
    const nothing = restore({ repository, snapshotId, target: missing, select: { paths: ['/data/su'] }, clock: impatientClock });
    await expect(nothing).rejects.toSatisfy((error) => isHoldfastError(error, 'path_not_found'));
    expect(missing.isOpen).toBe(false);
  });

  it('restore hard links as such', async () => {
    const repository = await createTestRepository();
    const linked: MemoryEntry = { type: 'file', bytes: noise(2_000_000, 9), inode: 42n, linkCount: 2n };
    const tree: MemoryFolder = { a: { type: 'dir', entries: { one: linked } }, b: { type: 'dir', entries: { two: linked } } };
    const { snapshotId } = await archiveTree(repository, tree);
    const target = openMemoryTarget();
    const result = await restore({ repository, snapshotId, target, clock: impatientClock });
    expect(result).toMatchObject({ filesRestored: 1, hardLinksRestored: 1 });
    expect(target.entries.get('/b/two')?.hardLinkTo).toBe('/a/one');
    expect(restoredContents(target)).toEqual(expectedContents(tree));
  });

  it('let two archives run at once', async () => {
    const repository = await createTestRepository();
    const other: MemoryFolder = { data: { type: 'dir', entries: { big: { type: 'file', bytes: noise(5_000_000, 1) }, x: text('x') } } };
    const [first, second] = await Promise.all([archiveTree(repository, sample), archiveTree(repository, other)]);
    expect(restoredContents(await restoreTree(repository, first.snapshotId))).toEqual(expectedContents(sample));
    expect(restoredContents(await restoreTree(repository, second.snapshotId))).toEqual(expectedContents(other));
    const { damageCount } = await check({ repository, level: 'checksum', clock: impatientClock });
    expect(damageCount).toBe(0);
  });
});
