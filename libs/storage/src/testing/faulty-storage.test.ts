import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { openMemoryStorage } from '../memory-storage.ts';
import { faultAt, openFaultyStorage } from './faulty-storage.ts';
import { describeStorageContract } from './storage-contract.ts';

describeStorageContract('faulty, with no fault', async () => ({
  storage: openFaultyStorage(openMemoryStorage(), () => undefined),
  dispose: async () => {},
}));

describe('faulty storage', () => {
  const isFault = (error: unknown): boolean => isHoldfastError(error, 'storage_unreachable');

  it('fails before the effect, once', async () => {
    const storage = openFaultyStorage(openMemoryStorage(), faultAt(2, 'before'));
    await storage.put('config', Buffer.from('x'));
    await expect(storage.put('keys/a', Buffer.from('x'))).rejects.toSatisfy(isFault);
    expect(await Array.fromAsync(storage.list(''))).toHaveLength(1);
    expect(storage.operationCount).toBe(3);
    expect(storage.operations.map(({ kind }) => kind)).toEqual(['put', 'put', 'list']);
  });

  it('fails after the effect', async () => {
    const storage = openFaultyStorage(openMemoryStorage(), faultAt(1, 'after'));
    await expect(storage.put('config', Buffer.from('x'))).rejects.toSatisfy(isFault);
    expect((await storage.get('config')).byteLength).toBe(1);
  });

  it('breaks a listing off after its objects', async () => {
    const storage = openFaultyStorage(openMemoryStorage(), ({ kind }) => (kind === 'list' ? 'after' : undefined));
    await storage.put('config', Buffer.from('x'));
    await expect(Array.fromAsync(storage.list(''))).rejects.toSatisfy(isFault);
  });

  it('stays dead after a crash, and the place keeps what was done', async () => {
    const inner = openMemoryStorage();
    const storage = openFaultyStorage(inner, faultAt(1, 'crash-after'));
    await expect(storage.put('config', Buffer.from('x'))).rejects.toSatisfy(isFault);
    await expect(storage.get('config')).rejects.toSatisfy(isFault);
    await expect(storage.delete('config')).rejects.toSatisfy(isFault);
    expect(storage.isCrashed).toBe(true);
    expect((await inner.stat('config')).sizeBytes).toBe(1);
  });
});
