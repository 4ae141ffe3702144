import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Storage } from '../storage.ts';

/**
 * The promises of storage.ts as tests. An adapter's own test is
 * `describeStorageContract('local', async () => ({ storage: …, dispose: … }))`; the storage that comes back must be empty.
 */
export interface StorageFixture {
  readonly storage: Storage;
  /** Another way in to the same place, as a second worker has it; the same storage when there is none. */
  readonly second?: Storage;
  /**
   * 'checked' for a server that takes no condition with a put: the adapter looks before it writes, and of several puts of one name
   * that run at once more than one may win, the last of them for good. 'atomic' when not given.
   */
  readonly exclusivePut?: 'atomic' | 'checked';
  dispose(): Promise<void>;
}

/** More than two pages of a thousand, the page size of the servers. */
const listedObjectCount = 2_501;
const largeObjectSizeBytes = 64 * 1024 * 1024;
/** What storage.ts promises for an abort. */
const abortWithinMs = 1_000;

export function describeStorageContract(kind: string, open: () => Promise<StorageFixture>): void {
  describe(`storage contract: ${kind}`, () => {
    let fixture: StorageFixture;
    let storage: Storage;
    let second: Storage;
    beforeAll(async () => {
      fixture = await open();
      storage = fixture.storage;
      second = fixture.second ?? fixture.storage;
    });
    afterAll(async () => {
      await storage.close();
      await storage.close();
      await fixture.dispose();
    });

    it('lists nothing in an empty place', async () => {
      expect(await namesOf(storage, '')).toEqual([]);
      expect(await namesOf(storage, 'data/')).toEqual([]);
    });

    describeObjects(
      () => storage,
      () => second,
    );
    describeReadsAndDeletes(
      () => storage,
      () => second,
    );
    describeRefusals(
      () => storage,
      () => second,
      () => fixture.exclusivePut ?? 'atomic',
    );
    describeAborts(() => storage);
    describeLargeThings(() => storage);
  });
}

function describeObjects(storageOf: () => Storage, secondOf: () => Storage): void {
  it('gives back what was put, at once and to every reader', async () => {
    const bytes = randomBytes(1000);
    const name = freshName('keys');
    await storageOf().put(name, bytes);
    for (const storage of [storageOf(), secondOf()]) {
      expect(sha256(await storage.get(name))).toBe(sha256(bytes));
      const found = await storage.stat(name);
      expect(found).toMatchObject({ name, sizeBytes: 1000 });
      expect(found.modifiedAt).toBeInstanceOf(Date);
      expect(await Array.fromAsync(storage.list('keys/'))).toContainEqual(found);
    }
  });

  it('joins the parts of a put, empty ones among them', async () => {
    const name = freshName('index');
    await storageOf().put(name, [Buffer.from('ab'), new Uint8Array(0), Buffer.from('c')]);
    expect(Buffer.from(await storageOf().get(name)).toString()).toBe('abc');
  });

  it('stores an empty object', async () => {
    const name = freshName('locks');
    await storageOf().put(name, new Uint8Array(0));
    expect((await storageOf().get(name)).byteLength).toBe(0);
    expect((await storageOf().get(name, { range: { offsetBytes: 0, lengthBytes: 0 } })).byteLength).toBe(0);
    expect((await storageOf().stat(name)).sizeBytes).toBe(0);
    expect(await namesOf(storageOf(), 'locks/')).toContain(name);
  });

  it('stores objects of one, two and three parts in their names', async () => {
    const names = ['config', `snapshots/${'0'.repeat(64)}`, `data/00/${'0'.repeat(64)}`, `data/ff/${'f'.repeat(64)}`];
    for (const name of names) await storageOf().put(name, Buffer.from(name));
    for (const name of names) expect(Buffer.from(await storageOf().get(name)).toString()).toBe(name);
    expect(await namesOf(storageOf(), '')).toEqual(expect.arrayContaining(names));
    expect(await namesOf(storageOf(), 'data/')).toEqual(names.slice(2));
    expect(await namesOf(storageOf(), 'data/ff/')).toEqual(names.slice(3));
  });
}

function describeReadsAndDeletes(storageOf: () => Storage, secondOf: () => Storage): void {
  it('gives arrays that the caller may write into', async () => {
    const name = freshName('keys');
    const bytes = Buffer.from('unchanged');
    await storageOf().put(name, bytes);
    bytes.fill(0);
    (await storageOf().get(name)).fill(0);
    expect(Buffer.from(await storageOf().get(name)).toString()).toBe('unchanged');
  });

  it('gives exactly the range asked for', async () => {
    const name = freshName('data/ab');
    await storageOf().put(name, Buffer.from('0123456789'));
    const range = async (offsetBytes: number, lengthBytes: number): Promise<string> =>
      Buffer.from(await storageOf().get(name, { range: { offsetBytes, lengthBytes } })).toString();
    expect(await range(0, 10)).toBe('0123456789');
    expect(await range(0, 1)).toBe('0');
    expect(await range(9, 1)).toBe('9');
    expect(await range(3, 4)).toBe('3456');
    expect(await range(10, 0)).toBe('');
    const into = new Uint8Array(new SharedArrayBuffer(4));
    const given = await storageOf().get(name, { range: { offsetBytes: 3, lengthBytes: 4 }, into });
    expect(Buffer.from(given).toString()).toBe('3456');
    expect(given === into || given.buffer instanceof ArrayBuffer).toBe(true);
    await expect(range(9, 2)).rejects.toSatisfy(hasCode('storage_object_too_short'));
    await expect(range(11, 1)).rejects.toSatisfy(hasCode('storage_object_too_short'));
  });

  it('deletes, and takes a second delete for done', async () => {
    const name = freshName('locks');
    await storageOf().put(name, Buffer.from('x'));
    await storageOf().delete(name);
    await storageOf().delete(name);
    await storageOf().delete(freshName('snapshots'));
    expect(await namesOf(secondOf(), 'locks/')).not.toContain(name);
    await expect(secondOf().get(name)).rejects.toSatisfy(hasCode('storage_object_missing'));
    await storageOf().put(name, Buffer.from('again'));
    expect(Buffer.from(await secondOf().get(name)).toString()).toBe('again');
  });

  it('serves many calls at once', async () => {
    const names = Array.from({ length: 100 }, () => freshName('data/cd'));
    await Promise.all(names.map((name) => storageOf().put(name, Buffer.from(name))));
    const contents = await Promise.all(names.map((name) => secondOf().get(name)));
    expect(contents.map((bytes) => Buffer.from(bytes).toString())).toEqual(names);
    await Promise.all(names.map((name) => storageOf().delete(name)));
    expect(await namesOf(storageOf(), 'data/cd/')).toEqual([]);
  });
}

function describeRefusals(storageOf: () => Storage, secondOf: () => Storage, exclusivePutOf: () => 'atomic' | 'checked'): void {
  it('tells a missing object by its code', async () => {
    const name = freshName('data/ef');
    await expect(storageOf().get(name)).rejects.toSatisfy(hasCode('storage_object_missing'));
    await expect(storageOf().get(name, { range: { offsetBytes: 0, lengthBytes: 1 } })).rejects.toSatisfy(hasCode('storage_object_missing'));
    await expect(storageOf().stat(name)).rejects.toSatisfy(hasCode('storage_object_missing'));
  });

  it('never replaces an object', async () => {
    const name = freshName('keys');
    await storageOf().put(name, Buffer.from('first'));
    await expect(secondOf().put(name, Buffer.from('second'))).rejects.toSatisfy(hasCode('storage_object_exists'));
    expect(Buffer.from(await storageOf().get(name)).toString()).toBe('first');
  });

  it('lets one of many puts of a name win, and readers see it whole', async () => {
    const name = freshName('keys');
    const bodies = Array.from({ length: 16 }, (_, index) => Buffer.alloc(100_000, index + 1));
    const seen = new Set<string>();
    const over = new AbortController();
    const reading = (async () => {
      while (!over.signal.aborted) {
        const bytes = await secondOf().get(name).catch(missingAsUndefined);
        if (bytes !== undefined) seen.add(sha256(bytes));
        await sleep(1);
      }
    })();
    const outcomes = await Promise.allSettled(bodies.map((body, index) => (index % 2 === 0 ? storageOf() : secondOf()).put(name, body)));
    over.abort();
    await reading;
    const winners = bodies.filter((_, index) => outcomes[index]?.status === 'fulfilled');
    expect(winners.length).toBeGreaterThan(0);
    if (exclusivePutOf() === 'atomic') expect(winners).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toSatisfy(hasCode('storage_object_exists'));
    }
    const hashes = winners.map(sha256);
    expect(hashes).toContain(sha256(await storageOf().get(name)));
    expect(hashes).toEqual(expect.arrayContaining([...seen]));
  });

  it('refuses odd names as defects of ours', async () => {
    const names = [
      '',
      '/',
      '.',
      '..',
      '../config',
      'data/../config',
      '/config',
      'keys//a',
      'keys/',
      'keys/A',
      'keys/a b',
      'keys/a\0',
      'keys/ä',
    ];
    for (const name of [...names, 'a/b/c/d', '.tmp-a', 'a'.repeat(65)]) {
      await expect(storageOf().put(name, Buffer.from('x'))).rejects.toSatisfy(hasCode('internal'));
      await expect(storageOf().get(name)).rejects.toSatisfy(hasCode('internal'));
      await expect(storageOf().stat(name)).rejects.toSatisfy(hasCode('internal'));
      await expect(storageOf().delete(name)).rejects.toSatisfy(hasCode('internal'));
    }
    for (const prefix of ['..', '../', '/', 'data', 'data//', './']) {
      await expect(namesOf(storageOf(), prefix)).rejects.toSatisfy(hasCode('internal'));
    }
  });
}

function describeAborts(storageOf: () => Storage): void {
  it('does nothing for a signal that is aborted already', async () => {
    const reason = new Error('stop');
    const signal = AbortSignal.abort(reason);
    const name = freshName('keys');
    const there = freshName('keys');
    await storageOf().put(there, Buffer.from('x'));
    await expect(storageOf().put(name, Buffer.from('x'), { signal })).rejects.toBe(reason);
    await expect(storageOf().get(there, { signal })).rejects.toBe(reason);
    await expect(storageOf().stat(there, { signal })).rejects.toBe(reason);
    await expect(storageOf().delete(there, { signal })).rejects.toBe(reason);
    await expect(Array.fromAsync(storageOf().list('', { signal }))).rejects.toBe(reason);
    expect(await namesOf(storageOf(), 'keys/')).not.toContain(name);
    expect(await namesOf(storageOf(), 'keys/')).toContain(there);
  });

  it('leaves nothing of an aborted put, and stops in time', async () => {
    const reason = new Error('stop');
    const body = Buffer.alloc(32 * 1024 * 1024, 1);
    for (const delayMs of [0, 1, 5, 20]) {
      const controller = new AbortController();
      const name = freshName('data/aa');
      const put = storageOf().put(name, body, { signal: controller.signal });
      const settled = Promise.allSettled([put]);
      await sleep(delayMs);
      const abortedAtMs = performance.now();
      controller.abort(reason);
      const [outcome] = await settled;
      expect(performance.now() - abortedAtMs).toBeLessThan(abortWithinMs);
      if (outcome.status === 'rejected') expect(outcome.reason).toBe(reason);
      expect((await namesOf(storageOf(), 'data/aa/')).includes(name)).toBe(outcome.status === 'fulfilled');
      await storageOf().delete(name);
    }
  });

  it('ends a listing that is aborted on the way', async () => {
    const controller = new AbortController();
    for (let index = 0; index < 3; index += 1) await storageOf().put(freshName('index'), Buffer.from('x'));
    const listing = async (): Promise<void> => {
      for await (const object of storageOf().list('index/', { signal: controller.signal })) {
        expect(object.name).toMatch(/^index\//);
        controller.abort(new Error('stop'));
      }
    };
    await expect(listing()).rejects.toThrow('stop');
  });
}

function describeLargeThings(storageOf: () => Storage): void {
  it('stores an object of 64 MiB and reads ranges across it', async () => {
    const bytes = randomBytes(largeObjectSizeBytes);
    const name = freshName('data/bb');
    await storageOf().put(name, [bytes.subarray(0, 1_000_001), bytes.subarray(1_000_001)]);
    expect(sha256(await storageOf().get(name))).toBe(sha256(bytes));
    const range = { offsetBytes: 33_000_001, lengthBytes: 20_000_003 };
    expect(sha256(await storageOf().get(name, { range }))).toBe(sha256(bytes.subarray(33_000_001, 53_000_004)));
    await storageOf().delete(name);
  });

  it(`lists ${String(listedObjectCount)} objects, each once`, async () => {
    const folders = ['data/01', 'data/02', 'data/03'];
    const names = Array.from({ length: listedObjectCount }, (_, index) => freshName(folders[index % folders.length] ?? ''));
    for (let begin = 0; begin < names.length; begin += 50) {
      await Promise.all(names.slice(begin, begin + 50).map((name) => storageOf().put(name, Buffer.from('x'))));
    }
    const listed = await namesOf(storageOf(), 'data/');
    expect(listed.filter((name) => names.includes(name))).toEqual(names.toSorted());
    expect(new Set(listed).size).toBe(listed.length);
  });
}

async function namesOf(storage: Storage, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map((object) => object.name).toSorted();
}

function freshName(folder: string): string {
  return `${folder}/${randomBytes(32).toString('hex')}`;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function hasCode(code: Parameters<typeof isHoldfastError>[1]): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}

function missingAsUndefined(error: unknown): undefined {
  if (!isHoldfastError(error, 'storage_object_missing')) throw error;
}
