import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { errnoCode } from '@holdfast/errors/errno-code';
import { cachedObject } from '../testing/fill-cache.ts';
import { openDiskCache } from './disk-cache.ts';

const run = promisify(execFile);
const mebibyte = 1024 * 1024;
const diskBytes = 2 * mebibyte;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(`${tmpdir()}/holdfast-cache-`);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${String(diskBytes)}`, 'tmpfs', folder]);
});
afterEach(async () => {
  await run('umount', [folder]);
  await rm(folder, { recursive: true });
});

it('keeps less on a disk that is full, tells of it once, and goes on when there is room', async () => {
  const troubles: (string | undefined)[] = [];
  let nowMs = Date.now();
  const options = { folder, maxBytes: 64 * mebibyte, onTrouble: (error: unknown) => void troubles.push(errnoCode(error)) };
  const cache = openDiskCache({ ...options, now: () => new Date(nowMs) });
  const place = cache.place('a');
  const fill = async (seed: number): Promise<void> => {
    for (let nth = 0; nth < 20; nth++) {
      await place.put(cachedObject(seed, nth).path, cachedObject(seed, nth).bytes);
      nowMs += 61_000;
    }
  };
  await fill(1);
  const keptCount = (await place.list('index')).length;
  expect(keptCount).toBeGreaterThan(0);
  expect(keptCount).toBeLessThan(20);
  expect(troubles).toEqual(['ENOSPC']);
  expect(cache.counts()).toMatchObject({ failures: 20 - keptCount, damaged: 0 });
  for (const name of await place.list('index')) expect(await place.get(`index/${name}`)).not.toBeNull();

  for (const name of (await place.list('index')).slice(0, 3)) await place.remove(`index/${name}`);
  await place.put(cachedObject(2, 0).path, cachedObject(2, 0).bytes);
  expect(await place.get(cachedObject(2, 0).path)).not.toBeNull();
});

it('is not written to for a minute after the disk was full', async () => {
  let nowMs = Date.now();
  const cache = openDiskCache({ folder, maxBytes: 64 * mebibyte, now: () => new Date(nowMs) });
  const place = cache.place('a');
  const put = (nth: number): Promise<void> => place.put(cachedObject(1, nth).path, cachedObject(1, nth).bytes);
  for (let nth = 0; nth < 20; nth++) await put(nth);
  expect(cache.counts().failures).toBe(1);
  nowMs += 61_000;
  await put(20);
  expect(cache.counts().failures).toBe(2);
});

it('answers from a disk that has become read-only, and writes nothing', async () => {
  const first = cachedObject(1, 1);
  await openDiskCache({ folder, maxBytes: mebibyte }).place('a').put(first.path, first.bytes);
  await run('mount', ['-o', 'remount,ro', folder]);
  const troubles: (string | undefined)[] = [];
  const cache = openDiskCache({ folder, maxBytes: mebibyte, onTrouble: (error) => void troubles.push(errnoCode(error)) });
  const place = cache.place('a');
  expect(await place.get(first.path)).not.toBeNull();
  const { path, bytes } = cachedObject(1, 2);
  await place.put(path, bytes);
  await place.put(path, bytes);
  await place.remove(first.path);
  expect(await place.get(path)).toBeNull();
  expect(troubles).toEqual(['EROFS']);
});
