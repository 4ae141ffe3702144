import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import { openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import type { Storage } from '@holdfast/storage/storage';
import { expect, it } from 'vitest';
import { openReading } from './repository-reading.ts';
import { restore } from './restorer.ts';
import { withSnapshotFiles } from './snapshot-files.ts';
import { openMemoryTarget } from './testing/memory-target.ts';
import {
  archiveTree,
  createTestRepository,
  impatientClock as clock,
  openTestRepository,
  restoredContents,
  text,
} from './testing/test-repository.ts';

it('gives several snapshots under one lock, by one reading of the index, and the lock goes with it', async () => {
  const plain = openMemoryStorage();
  const repository = await createTestRepository(plain);
  const ids: string[] = [];
  for (const name of ['first', 'second', 'third']) ids.push((await archiveTree(repository, { [name]: text(name) })).snapshotId);

  // No fault: it only counts.
  const storage = openFaultyStorage(plain, () => undefined);
  const countOf = (of: string): number => storage.operations.filter(({ kind, name }) => `${kind} ${name}`.startsWith(of)).length;
  const counted = await openTestRepository(storage);
  {
    await using reading = await openReading({ repository: counted, clock });
    const indexReads = countOf('get index/');
    expect(indexReads).toBe(3);
    for (const [nth, snapshotId] of ids.entries()) {
      const target = openMemoryTarget();
      await restore({ repository: counted, snapshotId, target, reading, clock });
      const name = ['first', 'second', 'third'][nth] ?? '';
      expect([...restoredContents(target).keys()]).toEqual([`/${name}`]);
      const listed = await withSnapshotFiles({ repository: counted, snapshotId, reading, clock }, (files) => files.list('/'));
      expect(listed).toMatchObject([{ name }]);
    }
    expect([countOf('put locks/'), countOf('get index/')]).toEqual([1, indexReads]);
    expect(await namesOf(plain, 'locks/')).toHaveLength(1);
  }
  expect(await namesOf(plain, 'locks/')).toEqual([]);
});

it('leaves no lock when the index cannot be read', async () => {
  const storage = openMemoryStorage();
  const repository = await createTestRepository(storage);
  await archiveTree(repository, { a: text('a') });
  const [name = ''] = await namesOf(storage, 'index/');
  await storage.delete(name);
  await storage.put(name, Buffer.from('no index'));
  await expect(openReading({ repository, clock })).rejects.toMatchObject({ code: 'repository_damaged' });
  expect(await namesOf(storage, 'locks/')).toEqual([]);
});

async function namesOf(storage: Storage, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of storage.list(prefix)) names.push(name);
  return names;
}
