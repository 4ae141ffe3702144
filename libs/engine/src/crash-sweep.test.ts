import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type Fault } from '@holdfast/storage/testing/faulty-storage';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { forget } from './forget.ts';
import { currentHolder } from './lock-holder.ts';
import { prune } from './pruner.ts';
import { listSnapshots } from './snapshots.ts';
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

/** Every storage operation of a piece of work fails once, in each of these ways. */
const faults: readonly Fault[] = ['before', 'after', 'crash-before', 'crash-after'];

const folder = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });
const trees = [
  folder({
    both: { type: 'file', bytes: noise(30_000, 1) },
    one: { type: 'file', bytes: noise(40_000, 2) },
    sub: { type: 'dir', entries: {} },
  }),
  folder({ both: { type: 'file', bytes: noise(30_000, 1) }, two: text('two'), sub: { type: 'dir', entries: { deep: text('deep') } } }),
] as const;
const third = folder({ three: { type: 'file', bytes: noise(600_000, 3) }, both: { type: 'file', bytes: noise(30_000, 1) } });

/** A process that died: its locks are stale for those who come after it. */
const deadHolder = { ...currentHolder(), pid: 2 ** 22 + 7 };

async function copy(from: Storage): Promise<Storage> {
  const to = openMemoryStorage();
  for await (const { name } of from.list('')) await to.put(name, await from.get(name));
  return to;
}

/** Runs `work` on a copy of `base` with a fault at each operation in turn, and `examine` after each. Returns how many operations there are. */
async function sweep(
  base: Storage,
  work: (storage: Storage) => Promise<unknown>,
  examine: (storage: Storage, hasFailed: boolean) => Promise<void>,
): Promise<number> {
  for (let number = 1; ; number++) {
    let isBeyondEnd = true;
    for (const fault of faults) {
      const storage = await copy(base);
      const faulty = openFaultyStorage(storage, faultAt(number, fault));
      const hasFailed = await work(faulty).then(
        () => false,
        () => true,
      );
      isBeyondEnd &&= faulty.operationCount < number;
      await examine(storage, hasFailed);
    }
    if (isBeyondEnd) {
      process.stdout.write(`crash sweep: ${number - 1} operations, ${faults.length} faults at each\n`);
      return number - 1;
    }
  }
}

async function makeBase(): Promise<{ base: Storage; snapshotIds: string[] }> {
  const base = openMemoryStorage();
  const repository = await createTestRepository(base);
  const snapshotIds: string[] = [];
  for (const tree of trees) snapshotIds.push((await archiveTree(repository, tree)).snapshotId);
  return { base, snapshotIds };
}

async function expectWhole(storage: Storage, snapshotIds: readonly string[], treesOf: readonly MemoryFolder[]): Promise<void> {
  const repository = await openTestRepository(storage);
  const { findings, damageCount } = await check({ repository, level: 'checksum', clock });
  expect(damageCount, JSON.stringify(findings)).toBe(0);
  expect((await check({ repository, level: 'integrity', clock })).damageCount).toBe(0);
  for (const [nth, snapshotId] of snapshotIds.entries()) {
    expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(treesOf[nth] ?? {}));
  }
}

describe('whatever operation fails', () => {
  it('a backup leaves the repository whole, and the next one completes', async () => {
    const { base, snapshotIds } = await makeBase();
    const operations = await sweep(
      base,
      async (storage) => await archiveTree(await openTestRepository(storage), third, { holder: deadHolder }),
      async (storage) => {
        await expectWhole(storage, snapshotIds, trees);
        const repository = await openTestRepository(storage);
        const { snapshotId } = await archiveTree(repository, third);
        expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(third));
      },
    );
    expect(operations).toBeGreaterThan(10);
  });

  it('forget and prune leave the snapshots that stay whole, and go on the next time', async () => {
    const { base, snapshotIds } = await makeBase();
    const [forgotten = '', kept = ''] = snapshotIds;
    const operations = await sweep(
      base,
      async (storage) => {
        const repository = await openTestRepository(storage);
        await forget({ repository, snapshotIds: [forgotten], clock, holder: deadHolder });
        await prune({ repository, maxUnusedPercent: 0, clock, holder: deadHolder });
      },
      async (storage) => {
        await expectWhole(storage, [kept], trees.slice(1));
        const repository = await openTestRepository(storage);
        await forget({ repository, snapshotIds: [forgotten], clock });
        await prune({ repository, maxUnusedPercent: 0, clock });
        await prune({ repository, maxUnusedPercent: 0, clock });
        await expectWhole(storage, [kept], trees.slice(1));
        const { findings } = await check({ repository, level: 'integrity', clock });
        expect(findings).toEqual([]);
        expect((await listSnapshots(repository)).map(({ id }) => id)).toEqual([kept]);
      },
    );
    expect(operations).toBeGreaterThan(25);
  });

  it('what a killed backup has uploaded and indexed is not uploaded again', async () => {
    const base = openMemoryStorage();
    await createTestRepository(base);
    const files = Object.fromEntries(
      Array.from({ length: 5 }, (_, nth) => [`f${nth}`, { type: 'file', bytes: noise(9_000_000, nth) } as const]),
    );
    // Time flies: each pack that lands is at once so late that it is indexed.
    let nowMs = Date.now();
    const fast = { ...clock, now: () => new Date((nowMs += 40_000)) };
    let indexFiles = 0;
    const faulty = openFaultyStorage(base, ({ kind, name }) => {
      if (kind === 'put' && name.startsWith('index/')) indexFiles++;
      return indexFiles > 1 ? 'crash-before' : undefined;
    });
    await expect(archiveTree(await openTestRepository(faulty), folder(files), { holder: deadHolder, clock: fast })).rejects.toThrow(
      'planned',
    );
    const again = await archiveTree(await openTestRepository(base), folder(files));
    expect(again.summary.dataAdded).toBeLessThan(45_000_000 - 14_000_000);
    expect(restoredContents(await restoreTree(await openTestRepository(base), again.snapshotId))).toEqual(expectedContents(folder(files)));
  });
});
