import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Source } from '@holdfast/sources/source';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { ArchiveOptions } from './archiver.ts';
import { listSnapshots } from './snapshots.ts';
import { openMemorySource, type MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, expectedContents, noise, restoredContents, restoreTree } from './testing/test-repository.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const polynomial = 0x3da3358b4dc173n;
const ways: readonly [name: string, options: Partial<ArchiveOptions>][] = [
  ['one thread', { concurrency: 0 }],
  ['several threads', { pool }],
];

/** A source that counts what is read of it. */
function counting(inner: Source): Source & { readBytes: number } {
  const counted = {
    ...inner,
    readBytes: 0,
    async openFile(path: string) {
      const file = await inner.openFile(path);
      return {
        ...file,
        async read(into: Uint8Array, positionBytes: number) {
          const read = await file.read(into, positionBytes);
          counted.readBytes += read;
          return read;
        },
      };
    },
  };
  return counted;
}

const log = (bytes: Uint8Array, modifiedNs: bigint, continues?: { path: string; sizeBytes: number }): MemoryFolder[string] => ({
  type: 'file',
  bytes,
  modifiedNs,
  ...(continues === undefined ? {} : { continues }),
});
const logs = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });

/** Stores `before`, then `after` on top of it, and `after` anew elsewhere: whose trees must be the same. */
async function storeTwice(before: MemoryFolder, after: MemoryFolder, options: Partial<ArchiveOptions>) {
  const repository = await createTestRepository(openMemoryStorage(), { chunkerPolynomial: polynomial });
  await archiveTree(repository, before, options);
  const [parent] = await listSnapshots(repository);
  const source = counting(openMemorySource(after));
  const result = await archiveTree(repository, after, { ...options, source, ...(parent && { parent }) });
  const whole = await archiveTree(await createTestRepository(openMemoryStorage(), { chunkerPolynomial: polynomial }), after, options);
  expect(restoredContents(await restoreTree(repository, result.snapshotId))).toEqual(expectedContents(after));
  return { result, readBytes: source.readBytes, isSameTree: result.treeId === whole.treeId };
}

describe.each(ways)('a file that grew, stored by %s', (_name, options) => {
  it('is cut as if all of it had been read, however much there was and came', async () => {
    const sizes = fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 400_000, max: 6_000_000 }));
    await fc.assert(
      fc.asyncProperty(sizes, sizes, fc.integer({ min: 1, max: 1_000_000 }), async (sizeBytes, moreBytes, seed) => {
        const bytes = noise(sizeBytes + moreBytes, seed);
        const before = logs({ log: log(bytes.slice(0, sizeBytes), 1n) });
        const after = logs({ 'log.1': log(bytes, 2n, { path: '/data/log', sizeBytes }) });
        expect((await storeTwice(before, after, options)).isSameTree).toBe(true);
      }),
      { numRuns: 15, seed: 6 },
    );
  }, 120_000);

  it('is read at its beginning, where reading ended and what is new', async () => {
    const bytes = noise(40_000_000, 1);
    const before = logs({ log: log(bytes.slice(0, 39_000_000), 1n) });
    const after = logs({ log: log(bytes, 2n, { path: '/data/log', sizeBytes: 39_000_000 }) });
    const { readBytes, result, isSameTree } = await storeTwice(before, after, options);
    expect(isSameTree).toBe(true);
    expect(readBytes).toBeLessThan(26_000_000);
    expect(result.summary).toMatchObject({ filesChanged: 1, totalBytesProcessed: 40_000_000 });
  });

  it('keeps all chunks when it only moved', async () => {
    const bytes = noise(20_000_000, 2);
    const before = logs({ log: log(bytes, 1n) });
    const after = logs({ log: log(noise(100, 3), 2n), 'log.1': log(bytes, 1n, { path: '/data/log', sizeBytes: 20_000_000 }) });
    const { readBytes, result } = await storeTwice(before, after, options);
    expect(readBytes).toBeLessThan(17_000_000);
    expect(result.summary.dataAdded).toBeLessThan(3_000);
  });

  it.each([
    ['another beginning', (bytes: Uint8Array) => bytes.fill(7, 0, 1)],
    ['another byte at the end of what was known', (bytes: Uint8Array) => bytes.fill(7, 9_999_999, 10_000_000)],
    ['another content altogether', (bytes: Uint8Array) => bytes.set(noise(bytes.length, 5))],
  ])('is read as a whole when it is another one: %s', async (_what, change) => {
    const bytes = noise(12_000_000, 4);
    const before = logs({ log: log(bytes.slice(0, 10_000_000), 1n) });
    change(bytes);
    const after = logs({ log: log(bytes, 2n, { path: '/data/log', sizeBytes: 10_000_000 }) });
    expect((await storeTwice(before, after, options)).isSameTree).toBe(true);
  });

  it.each([
    ['a size that the parent does not have', { path: '/data/log', sizeBytes: 1_999_999 }],
    ['a path that the parent does not have', { path: '/data/none/log', sizeBytes: 2_000_000 }],
    ['a folder', { path: '/data', sizeBytes: 2_000_000 }],
    ['less than the file has now', { path: '/data/log', sizeBytes: 2_000_000 }],
  ])('is read as a whole when the claim does not fit: %s', async (_what, continues) => {
    const bytes = noise(2_000_000, 4);
    const before = logs({ log: log(bytes, 1n) });
    const after = logs({ log: log(noise(1_000_000, 9), 2n, continues) });
    expect((await storeTwice(before, after, options)).isSameTree).toBe(true);
  });
});
