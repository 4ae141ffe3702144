import { expect, it } from 'vitest';
import { openMemoryStorage } from '../memory-storage.ts';
import { faultAt, openFaultyStorage } from '../testing/faulty-storage.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { type MeteredCall, openMeteringStorage } from './metering-storage.ts';

describeStorageContract('metering', async () => ({
  storage: openMeteringStorage(openMemoryStorage(), () => {}),
  dispose: () => Promise.resolve(),
}));

it('tells each call with its bytes, and what it failed with', async () => {
  const calls: MeteredCall[] = [];
  const faulty = openFaultyStorage(openMemoryStorage(), faultAt(6, 'before'));
  const storage = openMeteringStorage(faulty, (call) => void calls.push(call));
  await storage.put('keys/a', [Buffer.alloc(10), Buffer.alloc(5)]);
  await storage.get('keys/a', { range: { offsetBytes: 3, lengthBytes: 4 } });
  await storage.stat('keys/a');
  await Array.fromAsync(storage.list('keys/'));
  await storage.delete('keys/a');
  await expect(storage.get('keys/a')).rejects.toThrow('planned fault');
  await expect(storage.get('keys/a')).rejects.toThrow('not there');
  await expect(storage.stat('keys/a', { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
  expect(calls.map(({ operation, sizeBytes, errorCode }) => [operation, sizeBytes, errorCode])).toEqual([
    ['put', 15, undefined],
    ['get', 4, undefined],
    ['stat', 0, undefined],
    ['list', 0, undefined],
    ['delete', 0, undefined],
    ['get', 0, 'storage_unreachable'],
    ['get', 0, 'storage_object_missing'],
    ['stat', 0, 'cancelled'],
  ]);
  expect(calls.every(({ durationMs }) => durationMs >= 0)).toBe(true);
});

it('tells of a listing that its reader leaves early', async () => {
  const calls: MeteredCall[] = [];
  const storage = openMeteringStorage(openMemoryStorage(), (call) => void calls.push(call));
  for (const name of ['keys/a', 'keys/b']) await storage.put(name, Buffer.alloc(1));
  for await (const { name } of storage.list('')) {
    expect(name).toBe('keys/a');
    break;
  }
  expect(calls.map(({ operation }) => operation)).toEqual(['put', 'put', 'list']);
});
