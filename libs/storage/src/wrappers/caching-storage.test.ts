import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDiskCache, type DiskCache } from '../cache/disk-cache.ts';
import { openLocalStorage } from '../local/local-storage.ts';
import { openMemoryStorage } from '../memory-storage.ts';
import type { Storage } from '../storage.ts';
import { openFaultyStorage, type FaultyStorage } from '../testing/faulty-storage.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { openCachingStorage } from './caching-storage.ts';

const maxBytes = 64 * 1024 * 1024;
let folder = '';
let cache: DiskCache;
beforeEach(async () => {
  folder = await mkdtemp(`${tmpdir()}/holdfast-caching-`);
  cache = openDiskCache({ folder, maxBytes });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describeStorageContract('caching, in memory', async () => {
  const place = await mkdtemp(`${tmpdir()}/holdfast-caching-`);
  const inner = openMemoryStorage();
  const open = (): Storage => openCachingStorage(inner, { place: openDiskCache({ folder: place, maxBytes }).place('a'), reads: true });
  return { storage: open(), second: open(), dispose: () => rm(place, { recursive: true }) };
});

describeStorageContract('caching, round a folder', async () => {
  const place = await mkdtemp(`${tmpdir()}/holdfast-caching-`);
  const inner = await openLocalStorage({ path: `${place}/repository` });
  const kept = openDiskCache({ folder: `${place}/cache`, maxBytes }).place('a');
  return { storage: openCachingStorage(inner, { place: kept, reads: true }), dispose: () => rm(place, { recursive: true }) };
});

describe('a caching storage', () => {
  let inner: Storage;
  beforeEach(() => {
    inner = openMemoryStorage();
  });

  /** As a new process has it, with what it asks the inner storage. */
  function open({ reads = true } = {}): { storage: Storage; asked: FaultyStorage } {
    const asked = openFaultyStorage(inner, () => undefined);
    return { storage: openCachingStorage(asked, { place: cache.place('a'), reads }), asked };
  }

  it('reads index files and snapshots that are listed from the disk', async () => {
    const objects = ['index', 'index', 'snapshots'].map(hashNamed);
    for (const { name, bytes } of objects) await inner.put(name, bytes);
    const first = open();
    await readAll(first.storage);
    expect(gets(first.asked)).toBe(3);
    const second = open();
    expect(await readAll(second.storage)).toEqual(new Map(objects.map(({ name, bytes }) => [name, bytes.toString('hex')])));
    expect(gets(second.asked)).toBe(0);
    expect(second.asked.operations.map(({ kind }) => kind)).toEqual(['list', 'list']);
  });

  it('keeps what is put, in parts too', async () => {
    const { name, bytes } = hashNamed('index');
    await open().storage.put(name, [bytes.subarray(0, 10), bytes.subarray(10)]);
    const second = open();
    await readAll(second.storage);
    expect(gets(second.asked)).toBe(0);
  });

  it('keeps ranges of packs for which it is asked to, each by itself, and no others', async () => {
    const { name, bytes } = hashNamed('data/ab');
    await inner.put(name, bytes);
    const range = { offsetBytes: 10, lengthBytes: 20 };
    const read = async (more: object): Promise<number> => {
      const { storage, asked } = open();
      const found = await storage.get(name, { range, ...more });
      expect(Buffer.from(found).equals(bytes.subarray(10, 30))).toBe(true);
      // The caller may do with it what it likes.
      found.fill(0);
      return gets(asked);
    };
    expect([await read({}), await read({}), await read({ keep: 'yes' }), await read({ keep: 'yes' })]).toEqual([1, 1, 1, 0]);
    expect([await read({}), await read({ keep: 'anew' }), await read({ keep: 'yes' }), await read({ keep: 'yes' })]).toEqual([1, 1, 1, 0]);
    const other = open();
    const beside = await other.storage.get(name, { range: { offsetBytes: 11, lengthBytes: 19 }, keep: 'yes' });
    expect([gets(other.asked), Buffer.from(beside).equals(bytes.subarray(11, 30))]).toEqual([1, true]);
  });

  it('keeps no keys, no locks, no config and no whole packs', async () => {
    for (const name of ['config', ...['keys', 'locks', 'data/ab'].map((kind) => hashNamed(kind).name)])
      await inner.put(name, randomBytes(9));
    for (const count of [4, 4]) {
      const { storage, asked } = open();
      for await (const { name } of storage.list('')) await storage.get(name);
      expect(gets(asked)).toBe(count);
    }
    expect(cache.counts().writtenBytes).toBe(0);
  });

  it('asks the storage for what it has not seen there', async () => {
    const { name, bytes } = hashNamed('snapshots');
    await open().storage.put(name, bytes);
    const { storage, asked } = open();
    await storage.get(name);
    expect(gets(asked)).toBe(1);
    await inner.delete(name);
    await expect(open().storage.get(name)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_object_missing'));
  });

  it('drops what is deleted, by itself and by others', async () => {
    const [one, other] = [hashNamed('snapshots'), hashNamed('snapshots')];
    const pack = hashNamed('data/ab');
    const { storage } = open();
    for (const { name, bytes } of [one, other, pack]) await storage.put(name, bytes);
    await storage.get(pack.name, { range: { offsetBytes: 0, lengthBytes: 4 }, keep: 'yes' });
    await storage.delete(one.name);
    await expect(storage.get(one.name)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_object_missing'));
    await inner.delete(other.name);
    await inner.delete(pack.name);
    expect(await namesOf(storage, 'snapshots/')).toEqual([]);
    await expect(storage.get(other.name)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_object_missing'));
    expect(await cache.place('a').list('snapshots')).toEqual([]);
    expect(await cache.place('a').list('data')).toHaveLength(1);
    await namesOf(open({ reads: false }).storage, 'data/');
    expect(await cache.place('a').list('data')).toEqual([]);
  });

  it('keeps what a listing that broke off did not show', async () => {
    const { storage } = open();
    for (const { name, bytes } of ['index', 'index', 'index'].map(hashNamed)) await storage.put(name, bytes);
    for await (const object of storage.list('index/')) if (object.sizeBytes > 0) break;
    expect(await cache.place('a').list('index')).toHaveLength(3);
  });

  it('reads nothing from the disk for whoever is to find out what the storage has', async () => {
    const { name, bytes } = hashNamed('index');
    const pack = hashNamed('data/ab');
    const warm = open().storage;
    for (const object of [{ name, bytes }, pack]) await warm.put(object.name, object.bytes);
    const range = { offsetBytes: 0, lengthBytes: 4 };
    await warm.get(pack.name, { range, keep: 'yes' });
    const { storage, asked } = open({ reads: false });
    await readAll(storage);
    await storage.get(pack.name, { range, keep: 'yes' });
    expect(gets(asked)).toBe(2);
    await inner.delete(name);
    await expect(storage.get(name)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_object_missing'));
  });

  it('gives what the storage has, and keeps it not, when it is not what its name says', async () => {
    const { name } = hashNamed('index');
    await inner.put(name, Buffer.from('rotten'));
    for (let round = 0; round < 2; round++) {
      const { storage, asked } = open();
      expect([...(await readAll(storage)).values()]).toEqual([Buffer.from('rotten').toString('hex')]);
      expect(gets(asked)).toBe(1);
    }
  });
});

function hashNamed(kind: string): { name: string; bytes: Buffer } {
  const bytes = randomBytes(100);
  return { name: `${kind}/${createHash('sha256').update(bytes).digest('hex')}`, bytes };
}

async function readAll(storage: Storage): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const prefix of ['index/', 'snapshots/']) {
    for (const name of await namesOf(storage, prefix)) found.set(name, Buffer.from(await storage.get(name)).toString('hex'));
  }
  return found;
}

async function namesOf(storage: Storage, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map(({ name }) => name);
}

function gets({ operations }: FaultyStorage): number {
  return operations.filter(({ kind }) => kind === 'get').length;
}
