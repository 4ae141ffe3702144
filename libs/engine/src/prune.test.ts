import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { forget } from './forget.ts';
import { loadIndex } from './load-index.ts';
import { acquireLock } from './lock.ts';
import { prune } from './pruner.ts';
import type { Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import { openMemorySource } from './testing/memory-source.ts';
import { dataFolder as folder, goes, stays } from './testing/prunable-trees.ts';
import {
  archiveTree,
  createTestRepository,
  expectedContents,
  impatientClock as clock,
  noise,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const first = folder({ stays, goes, old: text('old') });
const second = folder({ stays, new: text('new') });

/** Two snapshots, the first of which is forgotten: its pack is used in part. */
async function makeRepository(
  storage: Storage = openMemoryStorage(),
): Promise<{ repository: Repository; forgotten: string; kept: string }> {
  const repository = await createTestRepository(storage);
  const { snapshotId: forgotten } = await archiveTree(repository, first);
  const { snapshotId: kept } = await archiveTree(repository, second);
  return { repository, forgotten, kept };
}

async function packBytes({ storage }: Repository): Promise<number> {
  return (await Array.fromAsync(storage.list('data/'))).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

async function expectClean(repository: Repository): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) {
    const { findings } = await check({ repository, level, clock });
    expect(findings).toEqual([]);
  }
}

describe('forget and prune', () => {
  it('free what no snapshot needs, and keep the rest whole', async () => {
    const { repository, forgotten, kept } = await makeRepository();
    const untouched = await prune({ repository, clock });
    expect(untouched).toMatchObject({ packsDeleted: 0, packsRepacked: 0, bytesFreed: 0 });
    expect(await forget({ repository, snapshotIds: [forgotten, 'f'.repeat(64)], clock })).toEqual({ forgottenIds: [forgotten] });

    const before = await packBytes(repository);
    const dry = await prune({ repository, dryRun: true, clock });
    expect(dry).toMatchObject({ dryRun: true, bytesBefore: before });
    expect(await packBytes(repository)).toBe(before);

    const result = await prune({ repository, clock });
    expect(result.bytesFreed).toBeGreaterThan(1_500_000);
    expect(result).toMatchObject({ dryRun: false, bytesBefore: before, bytesAfter: await packBytes(repository), bytesUnusedKept: 0 });
    expect(Math.abs(result.bytesFreed - dry.bytesFreed)).toBeLessThan(1000);
    expect(result.bytesBefore - result.bytesFreed).toBe(result.bytesAfter);
    expect(restoredContents(await restoreTree(repository, kept))).toEqual(expectedContents(second));
    await expectClean(repository);
    expect(await prune({ repository, clock })).toMatchObject({
      packsDeleted: 0,
      packsRepacked: 0,
      bytesFreed: 0,
      indexFilesDeleted: expect.any(Number) as number,
    });
  });

  it('leave waste below the limit alone', async () => {
    const { repository, forgotten } = await makeRepository();
    await forget({ repository, snapshotIds: [forgotten], clock });
    const result = await prune({ repository, maxUnusedPercent: 90, clock });
    expect(result).toMatchObject({ packsRepacked: 0, bytesUnusedKept: expect.any(Number) as number });
    expect(result.bytesUnusedKept).toBeGreaterThan(1_500_000);
    expect((await prune({ repository, maxUnusedPercent: 0, clock })).bytesFreed).toBeGreaterThan(1_500_000);
    await expectClean(repository);
  });

  it('empty a repository without snapshots, which takes backups again', async () => {
    const { repository, forgotten, kept } = await makeRepository();
    await forget({ repository, snapshotIds: [forgotten, kept], clock });
    expect(await prune({ repository, clock })).toMatchObject({ bytesAfter: 0, packsKept: 0 });
    expect(await Array.fromAsync(repository.storage.list('index/'))).toEqual([]);
    const { snapshotId } = await archiveTree(repository, first);
    expect(restoredContents(await restoreTree(repository, snapshotId))).toEqual(expectedContents(first));
    await expectClean(repository);
  });

  it('remove packs that no index names, second copies, and merge small index files', async () => {
    const { repository, kept } = await makeRepository();
    const same = folder({ x: { type: 'file', bytes: noise(700_000, 8) } });
    // All three read at the same time, so none knows what the others store.
    let readers = 0;
    const { promise: allRead, resolve } = Promise.withResolvers<void>();
    const beforeRead = async (): Promise<void> => {
      readers++;
      if (readers === 3) resolve();
      await allRead;
    };
    await Promise.all([1, 2, 3].map(() => archiveTree(repository, same, { source: openMemorySource(same, { beforeRead }) })));
    await repository.storage.put(`data/ab/ab${'0'.repeat(62)}`, noise(1000, 4));
    expect((await check({ repository, level: 'integrity', clock })).findings.map(({ kind }) => kind).toSorted()).toEqual([
      'blob_duplicated',
      'pack_not_indexed',
    ]);
    const result = await prune({ repository, maxUnusedPercent: 0, clock });
    expect(result.bytesFreed).toBeGreaterThan(1_400_000);
    await expectClean(repository);
    await prune({ repository, clock });
    expect((await loadIndex(repository)).files).toHaveLength(1);
    expect(restoredContents(await restoreTree(repository, kept))).toEqual(expectedContents(second));
  });

  it('remove nothing when something needed is gone or damaged', async () => {
    const { repository, forgotten } = await makeRepository();
    const { storage } = repository;
    const { index } = await loadIndex(repository);
    await forget({ repository, snapshotIds: [forgotten], clock });
    const [last] = await listSnapshots(repository);
    const packId = index.lookup('tree', last?.tree ?? '')?.packId ?? '';
    const name = `data/${packId.slice(0, 2)}/${packId}`;
    const bytes = await storage.get(name);
    await storage.delete(name);
    const others = await Array.fromAsync(storage.list('data/'));
    for (const replacement of [null, bytes.map((byte) => byte ^ 1), bytes.subarray(0, -1)]) {
      if (replacement !== null) await storage.put(name, replacement);
      await expect(prune({ repository, clock })).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));
      await storage.delete(name);
      expect(await Array.fromAsync(storage.list('data/'))).toEqual(others);
    }
  });

  it('wait for a backup that runs, and a backup for them', async () => {
    const repository = await createTestRepository();
    let attempted: Promise<unknown> | undefined;
    const source = openMemorySource(first, {
      beforeRead: async () => {
        attempted ??= prune({ repository, clock }).catch((error: unknown) => error);
        expect(isHoldfastError(await attempted, 'repository_locked')).toBe(true);
      },
    });
    await archiveTree(repository, first, { source });
    expect(attempted).toBeDefined();

    await using lock = await acquireLock(repository, { exclusive: true, clock });
    await expect(archiveTree(repository, first)).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_locked'));
    expect(await forget({ repository, snapshotIds: [], lock, clock })).toEqual({ forgottenIds: [] });
    await prune({ repository, lock, clock });
    expect(await Array.fromAsync(repository.storage.list('locks/'))).toHaveLength(1);
  });
});
