import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { assert, describe, expect, it, onTestFinished } from 'vitest';
import { openDiskCache } from './cache/disk-cache.ts';
import { holdUntil, isHolding } from './hold.ts';
import { openMemoryStorage } from './memory-storage.ts';
import type { Storage } from './storage.ts';
import { openHeldStorage } from './testing/held-storage.ts';
import { openAppendOnlyStorage } from './wrappers/append-only-storage.ts';
import { openCachingStorage } from './wrappers/caching-storage.ts';
import { openLimitingStorage } from './wrappers/limiting-storage.ts';
import { openMeteringStorage } from './wrappers/metering-storage.ts';
import { openRetryingStorage } from './wrappers/retrying-storage.ts';

const freeAt = new Date('2030-01-01T00:00:00Z');
const now = (): Date => new Date('2029-01-01T00:00:00Z');

it('ends when its time has passed, and one without an end does not', () => {
  expect(holdUntil(freeAt, false, now())).toEqual({ freeAt });
  expect(holdUntil(freeAt, true, now())).toEqual({ freeAt: null });
  for (const end of [undefined, now(), new Date(0)]) expect(holdUntil(end, false, now())).toBeUndefined();
});

describe.each<[string, (inner: Storage, folder: string) => Storage]>([
  ['append-only', openAppendOnlyStorage],
  ['caching', (inner, folder) => openCachingStorage(inner, { place: openDiskCache({ folder, maxBytes: 1000 }).place('a'), reads: true })],
  ['limiting', (inner) => openLimitingStorage(inner, {})],
  ['metering', (inner) => openMeteringStorage(inner, () => undefined)],
  ['retrying', (inner) => openRetryingStorage(inner)],
])('round a storage that holds objects, a %s one', (_, wrap) => {
  it('tells of them too, and of nothing round another', async () => {
    const folder = await mkdtemp(`${tmpdir()}/holdfast-hold-`);
    onTestFinished(() => rm(folder, { recursive: true }));
    const renewed: string[] = [];
    const renewHold = async (name: string): Promise<boolean> => renewed.push(name) > 0;
    const held = { rule: (name: string) => (name === 'config' ? freeAt : undefined), now };
    const storage = wrap(openHeldStorage(openMemoryStorage(), { ...held, renewHold }), folder);
    assert(isHolding(storage));
    expect(await storage.holdOf('config')).toEqual({ freeAt });
    expect(await storage.holdOf('keys/aa')).toBeUndefined();
    expect(await storage.renewHold?.('config')).toBe(true);
    expect(renewed).toEqual(['config']);
    const unrenewed = wrap(openHeldStorage(openMemoryStorage(), held), folder);
    assert(isHolding(unrenewed));
    expect(unrenewed.renewHold).toBeUndefined();
    expect(isHolding(wrap(openMemoryStorage(), folder))).toBe(false);
  });
});
