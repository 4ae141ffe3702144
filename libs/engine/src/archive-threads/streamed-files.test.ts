import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type Fault } from '@holdfast/storage/testing/faulty-storage';
import { afterAll, describe, expect, it } from 'vitest';
import type { ArchiveOptions } from '../archiver.ts';
import { check } from '../checker.ts';
import { currentHolder } from '../lock-holder.ts';
import { listSnapshots } from '../snapshots.ts';
import { openMemorySource, type MemoryFolder } from '../testing/memory-source.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  openTestRepository,
  restoredContents,
  restoreTree,
} from '../testing/test-repository.ts';
import { openThreadPool } from '../threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const dumps: MemoryFolder = {
  data: {
    type: 'dir',
    entries: {
      empty: { type: 'file', bytes: new Uint8Array() },
      large: { type: 'file', bytes: noise(30_000_000, 1) },
      same: { type: 'file', bytes: noise(30_000_000, 1) },
      text: { type: 'file', bytes: Buffer.from('insert into t values (1, 2, 3);\n'.repeat(300_000)) },
      zeros: { type: 'file', bytes: new Uint8Array(20_000_000) },
      ...Object.fromEntries(Array.from({ length: 300 }, (_, nth) => [`t${nth}`, { type: 'file', bytes: Buffer.from(`${nth % 250}`) }])),
    },
  },
};

async function copyOf(base: Storage): Promise<Storage> {
  const copy = openMemoryStorage();
  for await (const { name } of base.list('')) await copy.put(name, await base.get(name));
  return copy;
}

const run = async (storage: Storage, options: Partial<ArchiveOptions> = {}) =>
  await archiveTree(await openTestRepository(storage), dumps, { pool, ...options });

async function expectClean(storage: Storage): Promise<void> {
  const { findings } = await check({ repository: await openTestRepository(storage), level: 'checksum', clock });
  expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

describe('files that only the leading thread can read', () => {
  it('are stored by threads as by one alone', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const other = await copyOf(storage);
    const phases: number[] = [];
    const threaded = await run(storage, { onProgress: ({ bytesDone }) => phases.push(bytesDone) });
    const single = await run(other, { concurrency: 0 });
    expect(threaded.treeId).toBe(single.treeId);
    const { dataBlobs, treeBlobs, dataAdded, totalFilesProcessed, totalBytesProcessed } = single.summary;
    expect(threaded.summary).toMatchObject({ dataBlobs, treeBlobs, dataAdded, totalFilesProcessed, totalBytesProcessed });
    expect(phases.at(-1)).toBe(totalBytesProcessed);
    await expectClean(storage);
    const restored = await restoreTree(await openTestRepository(storage), threaded.snapshotId);
    expect(restoredContents(restored)).toEqual(expectedContents(dumps));
    // Nothing is new the second time.
    expect((await run(storage)).summary.dataBlobs).toBe(0);
  });

  it('are listed as skipped when they cannot be read', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const source = openMemorySource(dumps, { unreadable: new Map([['/data/large', 'path_not_readable']]) });
    const { skipped, summary } = await run(storage, { source });
    expect(skipped.map(({ path }) => path)).toEqual(['/data/large']);
    expect(summary.totalFilesProcessed).toBe(304);
    await expectClean(storage);
  });

  it('end within a second when aborted', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const abort = new AbortController();
    let abortedAt = 0;
    const onProgress: ArchiveOptions['onProgress'] = ({ bytesDone }) => {
      if (bytesDone < 5_000_000 || abortedAt > 0) return;
      abortedAt = performance.now();
      abort.abort(new Error('enough'));
    };
    await expect(run(storage, { signal: abort.signal, onProgress })).rejects.toThrow('enough');
    expect(performance.now() - abortedAt).toBeLessThan(1000);
    expect(await listSnapshots(await openTestRepository(storage))).toEqual([]);
    await run(storage);
    await expectClean(storage);
  });

  it('leave the repository whole, whatever operation fails', async () => {
    const base = openMemoryStorage();
    await createTestRepository(base);
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    for (let number = 1, isBeyondEnd = false; !isBeyondEnd; number++) {
      for (const fault of ['before', 'crash-after'] satisfies Fault[]) {
        const storage = await copyOf(base);
        const faulty = openFaultyStorage(storage, faultAt(number, fault));
        await run(faulty, { holder }).catch(() => {});
        isBeyondEnd = faulty.operationCount < number;
        await expectClean(storage);
      }
    }
  }, 120_000);
});
