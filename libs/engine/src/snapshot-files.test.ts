import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import { describe, expect, it } from 'vitest';
import { withSnapshotFiles, type SnapshotFiles } from './snapshot-files.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';

const big = noise(9_000_000, 5);

async function collect(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

async function withFiles<T>(
  use: (files: SnapshotFiles) => Promise<T>,
  storage = openMemoryStorage(),
  damage?: () => Promise<void>,
): Promise<T> {
  const repository = await createTestRepository(storage);
  const tree = {
    a: text('first'),
    empty: text(''),
    deep: { type: 'dir' as const, entries: { big: { type: 'file' as const, bytes: big } } },
  };
  const { snapshotId } = await archiveTree(repository, tree);
  await damage?.();
  return await withSnapshotFiles({ repository, snapshotId, clock }, use);
}

describe('the files of a snapshot', () => {
  it('are listed with their sizes', async () => {
    await withFiles(async (files) => {
      expect(await files.list('/')).toMatchObject([
        { name: 'a', sizeBytes: 5 },
        { name: 'deep', type: 'dir' },
        { name: 'empty', sizeBytes: 0 },
      ]);
      expect(await files.list('/deep')).toMatchObject([{ name: 'big', type: 'file', sizeBytes: big.length }]);
    });
  });

  it('are read here and there', async () => {
    await withFiles(async (files) => {
      const file = await files.open('/deep/big');
      expect(file?.sizeBytes).toBe(big.length);
      for (const [from, length] of [
        [5_000_001, 3_000_000],
        [0, 10],
        [big.length - 7, 100],
        [big.length, 8],
        [1_000_000, 1],
      ] as const) {
        const buffer = Buffer.alloc(length);
        const count = (await file?.read(buffer, from)) ?? -1;
        expect(Buffer.compare(buffer.subarray(0, count), Buffer.from(big.subarray(from, from + length)))).toBe(0);
      }
      expect((await files.open('/empty'))?.sizeBytes).toBe(0);
      for (const path of ['/deep', '/deep/none', '/none/big']) expect(await files.open(path)).toBeNull();
    });
  });

  it('are read in order, from any byte on, several at once', async () => {
    await withFiles(async (files) => {
      for (const from of [0, 1, 524_288, 5_000_001, big.length, big.length + 1]) {
        expect(Buffer.compare(await collect(files.read('/deep/big', from)), Buffer.from(big.subarray(from)))).toBe(0);
      }
      const [one, two, empty] = await Promise.all(['/deep/big', '/a', '/empty'].map((path) => collect(files.read(path))));
      expect(one?.length).toBe(big.length);
      expect(two?.toString()).toBe('first');
      expect(empty?.length).toBe(0);
    });
  });

  it.each(['/missing', '/deep/missing', '/deep', '/a/b', 'a/../b'])('%s is not there', async (path) => {
    await withFiles(async (files) => {
      await expect(collect(files.read(path))).rejects.toMatchObject({ code: 'path_not_found' });
    });
  });

  it('that are damaged are never given', async () => {
    const storage = openMemoryStorage();
    const damage = async (): Promise<void> => {
      const names: string[] = [];
      for await (const { name } of storage.list('data/')) names.push(name);
      for (const name of names) {
        const bytes = await storage.get(name);
        await storage.delete(name);
        await storage.put(name, bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1));
      }
    };
    const reading = withFiles((files) => collect(files.read('/deep/big')), storage, damage);
    await expect(reading).rejects.toMatchObject({ code: 'repository_damaged' });
  });
});
