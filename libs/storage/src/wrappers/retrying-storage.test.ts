import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it } from 'vitest';
import { openMemoryStorage } from '../memory-storage.ts';
import type { Storage } from '../storage.ts';
import { type FaultRule, faultAt, openFaultyStorage } from '../testing/faulty-storage.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { openRetryingStorage, type Retry, type RetryPolicy } from './retrying-storage.ts';

const body = Buffer.from('bytes of a pack');
const instantly: RetryPolicy = { firstDelayMs: 1, maxDelayMs: 1, giveUpAfterMs: 60_000, sleep: async () => {} };
const everyThird: FaultRule = ({ number }) => (number % 3 === 0 ? (number % 2 === 0 ? 'before' : 'after') : undefined);

describeStorageContract('retrying, over faults at every third call', async () => {
  const storage = openRetryingStorage(openFaultyStorage(openMemoryStorage(), everyThird), instantly);
  return { storage, dispose: () => Promise.resolve() };
});

it.each(['before', 'after'] as const)('goes on after a fault %s the work, whatever the call', async (fault) => {
  const memory = openMemoryStorage();
  const calls: ((storage: Storage) => Promise<unknown>)[] = [
    (storage) => storage.put('keys/new', [body.subarray(0, 3), body.subarray(3)]),
    async (storage) => expect(Buffer.from(await storage.get('keys/new'))).toEqual(body),
    async (storage) => expect(await storage.stat('keys/new')).toMatchObject({ sizeBytes: body.byteLength }),
    async (storage) => expect(await Array.fromAsync(storage.list(''))).toMatchObject([{ name: 'keys/new' }]),
    (storage) => storage.delete('keys/new'),
  ];
  for (const call of calls) {
    const { storage, retries } = retrying(memory, faultAt(1, fault));
    await call(storage);
    expect(retries).toMatchObject([{ failureCount: 1 }]);
  }
  expect(await Array.fromAsync(memory.list(''))).toEqual([]);
});

it('gives each object of a listing once, however often it breaks off', async () => {
  const memory = openMemoryStorage();
  for (let index = 0; index < 20; index += 1) await memory.put(`data/ab/${String(index)}`, body);
  let listings = 0;
  const breaking = openMemoryStorage();
  breaking.list = async function* list(prefix, options) {
    listings += 1;
    let given = 0;
    for await (const object of memory.list(prefix, options)) {
      if (given === listings * 7) throw new HoldfastError('storage_unreachable', 'broke off');
      given += 1;
      yield object;
    }
  };
  const storage = openRetryingStorage(breaking, instantly);
  const names = (await Array.fromAsync(storage.list('data/'))).map(({ name }) => name);
  expect(names).toHaveLength(20);
  expect(new Set(names).size).toBe(20);
  expect(listings).toBe(3);
});

it('takes a put whose answer was lost for done only when the bytes are its own', async () => {
  const memory = openMemoryStorage();
  await retrying(memory, faultAt(1, 'after')).storage.put('keys/mine', body);
  await memory.put('keys/others', Buffer.from('something else'));
  const { storage } = retrying(memory, faultAt(1, 'before'));
  await expect(storage.put('keys/others', body)).rejects.toSatisfy(hasCode('storage_object_exists'));
  await expect(openRetryingStorage(memory, instantly).put('keys/mine', body)).rejects.toSatisfy(hasCode('storage_object_exists'));
});

it.each(['storage_denied', 'storage_full', 'storage_object_missing'] as const)('does not try again after %s', async (code) => {
  const faulty = openFaultyStorage(
    openMemoryStorage(),
    () => 'before',
    () => new HoldfastError(code, 'no'),
  );
  await expect(openRetryingStorage(faulty, instantly).get('keys/a')).rejects.toSatisfy(hasCode(code));
  expect(faulty.operationCount).toBe(1);
});

it('waits longer each time, up to its limit, and gives up in time with the last error', async () => {
  let nowMs = 1000;
  const waitedMs: number[] = [];
  const policy: RetryPolicy = {
    firstDelayMs: 100,
    maxDelayMs: 1000,
    giveUpAfterMs: 5000,
    random: () => 1,
    nowMs: () => nowMs,
    sleep: async (delayMs) => {
      waitedMs.push(delayMs);
      nowMs += delayMs;
    },
  };
  const faulty = openFaultyStorage(openMemoryStorage(), () => 'before');
  await expect(openRetryingStorage(faulty, policy).get('keys/a')).rejects.toThrow('operation 8');
  expect(waitedMs).toEqual([100, 200, 400, 800, 1000, 1000, 1000]);
});

it('shares out its tries by chance: at least half of the delay, at most all of it', async () => {
  for (const [random, expected] of [
    [0, 50],
    [0.999_999, 100],
  ] as const) {
    const delays: number[] = [];
    const onRetry = ({ delayMs }: Retry): void => void delays.push(delayMs);
    const policy = { ...instantly, firstDelayMs: 100, maxDelayMs: 1000, random: () => random, onRetry };
    await openRetryingStorage(openFaultyStorage(openMemoryStorage(), faultAt(1, 'before')), policy).delete('keys/a');
    expect(delays).toEqual([expected]);
  }
});

it('stops waiting when it is aborted, and when it is closed', async () => {
  const slowly: RetryPolicy = { firstDelayMs: 60_000, maxDelayMs: 60_000, giveUpAfterMs: 600_000 };
  const reason = new Error('stop');
  const controller = new AbortController();
  const storage = openRetryingStorage(
    openFaultyStorage(openMemoryStorage(), () => 'before'),
    {
      ...slowly,
      onRetry: () => void setImmediate(() => controller.abort(reason)),
    },
  );
  await expect(storage.get('keys/a', { signal: controller.signal })).rejects.toBe(reason);
  const closing = openRetryingStorage(
    openFaultyStorage(openMemoryStorage(), () => 'before'),
    {
      ...slowly,
      onRetry: () => void setImmediate(() => void closing.close()),
    },
  );
  await expect(closing.get('keys/a')).rejects.toThrow('aborted');
});

function retrying(inner: Storage, rule: FaultRule): { storage: Storage; retries: Retry[] } {
  const retries: Retry[] = [];
  const onRetry = (retry: Retry): void => void retries.push(retry);
  return { storage: openRetryingStorage(openFaultyStorage(inner, rule), { ...instantly, onRetry }), retries };
}

function hasCode(code: Parameters<typeof isHoldfastError>[1]): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}
