import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, describe, expect, it, onTestFinished } from 'vitest';
import { isHolding } from '../hold.ts';
import { openMemoryStorage } from '../memory-storage.ts';
import { openStorage } from '../open-storage.ts';
import { parseStorageOptions } from '../storage-options.ts';
import { isSweepable } from '../sweep.ts';
import { openHeldStorage } from '../testing/held-storage.ts';
import { openAppendOnlyStorage } from './append-only-storage.ts';

const names = ['config', 'keys/aa', 'index/aa', 'snapshots/aa', 'data/ab/ab'];

describe('an append-only storage', () => {
  it('takes and gives everything, and deletes nothing but locks and trials', async () => {
    const inner = openMemoryStorage();
    const storage = openAppendOnlyStorage(inner);
    expect(storage.location).toBe(inner.location);
    for (const name of [...names, 'locks/aa', 'trial/aa']) await storage.put(name, Buffer.from(name));
    for (const name of names) {
      await expect(storage.delete(name)).rejects.toMatchObject({
        code: 'storage_append_only',
        hint: expect.stringContaining('appendOnly'),
      });
    }
    for (const name of ['locks/aa', 'trial/aa', 'locks/ab']) await storage.delete(name);
    expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name).toSorted()).toEqual(names.toSorted());
    expect(Buffer.from(await storage.get('data/ab/ab', { range: { offsetBytes: 5, lengthBytes: 2 } })).toString()).toBe('ab');
    expect((await storage.stat('keys/aa')).sizeBytes).toBe(7);
    await expect(storage.put('config', Buffer.from('x'))).rejects.toMatchObject({ code: 'storage_object_exists' });
    await storage.close();
  });

  it('sweeps nothing, and tells what the storage below holds', async () => {
    const freeAt = new Date('2030-01-01');
    const sweepable = Object.assign(openMemoryStorage(), { sweep: async () => 1 });
    expect(isSweepable(openAppendOnlyStorage(sweepable))).toBe(false);
    expect(isHolding(openAppendOnlyStorage(sweepable))).toBe(false);
    const storage = openAppendOnlyStorage(openHeldStorage(sweepable, { rule: () => freeAt, now: () => new Date('2029-01-01') }));
    assert(isHolding(storage));
    expect(await storage.holdOf('config')).toEqual({ freeAt });
  });

  it('is what options ask for, of a folder too, which threads can still use', async () => {
    const path = await mkdtemp(join(tmpdir(), 'holdfast-append-'));
    onTestFinished(() => rm(path, { recursive: true }));
    const deps = {
      checkPath: async () => path,
      checkServer: () => undefined,
      credentials: async () => null,
      allowAmbientCredentials: false,
    };
    const storage = await openStorage(parseStorageOptions({ type: 'local', path, appendOnly: true }), deps);
    await storage.put('keys/aa', Buffer.from('x'));
    await expect(storage.delete('keys/aa')).rejects.toMatchObject({ code: 'storage_append_only' });
    expect(storage.threadOptions).toEqual({ kind: 'local', path });
    const usual = await openStorage(parseStorageOptions({ type: 'local', path, appendOnly: false }), deps);
    await usual.delete('keys/aa');
  });
});
