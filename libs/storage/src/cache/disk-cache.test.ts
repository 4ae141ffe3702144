import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cachedObject } from '../testing/fill-cache.ts';
import { openDiskCache, type DiskCache } from './disk-cache.ts';
import { scanCache } from './scan-cache.ts';

/** Kills that are tried until two of them have met a file half written. */
const maxKills = 100;
const mebibyte = 1024 * 1024;
const id = 'ab'.repeat(32);
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(`${tmpdir()}/holdfast-cache-`);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const openCache = (more: Partial<Parameters<typeof openDiskCache>[0]> = {}): DiskCache =>
  openDiskCache({ folder, maxBytes: 16 * mebibyte, ...more });

describe('a cache on a disk', () => {
  it('gives back what was kept, after a restart too, and to its own repository only', async () => {
    const { path, bytes } = cachedObject(1, 1);
    const range = `data/${id}/0.1000`;
    const rangeBytes = randomBytes(1000);
    const first = openCache();
    expect(await first.place('a').get(path)).toBeNull();
    await first.place('a').put(path, bytes);
    await first.place('a').put(range, rangeBytes);
    expect(same(await first.place('a').get(path), bytes)).toBe(true);
    const second = openCache();
    expect(same(await second.place('a').get(path), bytes)).toBe(true);
    expect(same(await second.place('a').get(range), rangeBytes)).toBe(true);
    expect(await second.place('b').get(path)).toBeNull();
    expect(await second.place('a').list('index')).toEqual([path.slice('index/'.length)]);
    expect(await second.place('a').list('data')).toEqual([id]);
    expect(second.counts()).toMatchObject({ hits: 2, misses: 1, hitBytes: bytes.length + 1000, damaged: 0, failures: 0 });
  });

  it('lets nobody else read, and says nothing of the place in names', async () => {
    const { path, bytes } = cachedObject(1, 1);
    await openCache().place('sftp:backup@host:22/shop').put(path, bytes);
    await openCache().place('sftp:backup@host:22/shop').put(`data/${id}/0.10`, randomBytes(10));
    for (const name of await readdir(folder, { recursive: true })) {
      const found = await stat(join(folder, name));
      expect([name, found.mode & 0o777]).toEqual([name, found.isDirectory() ? 0o700 : 0o600]);
      expect(name).not.toMatch(/host|shop/);
    }
  });

  it.each(['flipped', 'cut', 'longer', 'empty'])('notices a file that is %s, and forgets it', async (damage) => {
    for (const [path, bytes] of [Object.values(cachedObject(1, 1)), [`data/${id}/0.1000`, randomBytes(1000)]] as [string, Uint8Array][]) {
      const cache = openCache();
      await cache.place('a').put(path, bytes);
      const file = await fileOf(path);
      const content = await readFile(file);
      if (damage === 'flipped') content[500] = (content[500] ?? 0) ^ 1;
      if (damage === 'flipped') await writeFile(file, content);
      if (damage === 'cut') await truncate(file, 999);
      if (damage === 'longer') await writeFile(file, Buffer.concat([content, Buffer.alloc(1)]));
      if (damage === 'empty') await truncate(file, 0);
      expect(await cache.place('a').get(path)).toBeNull();
      expect(cache.counts()).toMatchObject({ damaged: 1, misses: 1, failures: 0 });
      await expect(stat(file)).rejects.toThrow('ENOENT');
      await cache.place('a').put(path, bytes);
      expect(same(await cache.place('a').get(path), bytes)).toBe(true);
    }
  });

  it('notices two files that have changed places, a folder and a link in the place of a file', async () => {
    const cache = openCache();
    const place = cache.place('a');
    const paths = [cachedObject(1, 1).path, cachedObject(1, 2).path, `data/${id}/0.10`, `data/${id}/10.10`];
    await place.put(paths[0] ?? '', cachedObject(1, 1).bytes);
    await place.put(paths[1] ?? '', cachedObject(1, 2).bytes);
    await place.put(paths[2] ?? '', randomBytes(10));
    await place.put(paths[3] ?? '', randomBytes(10));
    for (const [one, other] of [paths.slice(0, 2), paths.slice(2)]) {
      const [oneFile, otherFile] = [await fileOf(one ?? ''), await fileOf(other ?? '')];
      await rename(oneFile, join(folder, 'aside'));
      await rename(otherFile, oneFile);
      await rename(join(folder, 'aside'), otherFile);
    }
    for (const path of paths) expect(await place.get(path)).toBeNull();
    expect(cache.counts().damaged).toBe(4);

    const { path, bytes } = cachedObject(1, 3);
    await place.put(path, bytes);
    const file = await fileOf(path);
    await rename(file, join(folder, 'aside'));
    await symlink(join(folder, 'aside'), file);
    expect(await place.get(path)).toBeNull();
    await mkdir(file);
    expect(await place.get(path)).toBeNull();
    await place.put(path, bytes);
    expect(same(await place.get(path), bytes)).toBe(true);
    expect((await readFile(join(folder, 'aside'))).equals(bytes)).toBe(true);
  });

  it('keeps nothing that is not what its name says', async () => {
    const cache = openCache();
    await cache.place('a').put(`snapshots/${id}`, Buffer.from('another'));
    expect(await cache.place('a').list('snapshots')).toEqual([]);
    expect(cache.counts()).toMatchObject({ writtenBytes: 0, failures: 0 });
  });

  it('goes on when somebody empties it', async () => {
    const place = openCache().place('a');
    const { path, bytes } = cachedObject(1, 1);
    await place.put(path, bytes);
    await rm(folder, { recursive: true });
    expect(await place.get(path)).toBeNull();
    await place.put(path, bytes);
    expect(same(await place.get(path), bytes)).toBe(true);
  });

  it('drops a file, and all ranges of a pack', async () => {
    const place = openCache().place('a');
    const { path, bytes } = cachedObject(1, 1);
    for (const kept of [`data/${id}/0.10`, `data/${id}/10.10`]) await place.put(kept, randomBytes(10));
    await place.put(path, bytes);
    await place.remove(path);
    await place.remove(`data/${id}`);
    await place.remove(`data/${id}`);
    expect([...(await place.list('index')), ...(await place.list('data'))]).toEqual([]);
  });
});

describe('the bound of a cache', () => {
  it('lets what was not used for longest go first', async () => {
    let nowMs = Date.now();
    const cache = openCache({ maxBytes: 2 * mebibyte, now: () => new Date((nowMs += 1000)) });
    const place = cache.place('a');
    const paths: string[] = [];
    for (let nth = 0; nth < 30; nth++) {
      const { path, bytes } = cachedObject(1, nth);
      paths.push(path);
      await place.put(path, bytes);
      // Used all the time, though it was the first.
      expect(await place.get(paths[0] ?? '')).not.toBeNull();
      expect(await diskBytes()).toBeLessThanOrEqual(2 * mebibyte);
    }
    const kept = (await place.list('index')).map((name) => `index/${name}`);
    expect(kept.toSorted()).toEqual([paths[0] ?? '', ...paths.slice(31 - kept.length)].toSorted());
    expect(cache.counts().evictions).toBe(30 - kept.length);
    expect(cache.counts().heldBytes).toBe(await diskBytes());
  });

  it('holds over restarts, for many at once and with small files', async () => {
    for (let round = 0; round < 3; round++) {
      const place = openCache({ maxBytes: mebibyte }).place('a');
      await Promise.all(Array.from({ length: 40 }, (_, nth) => place.put(`data/${id}/${String(round)}.${String(nth)}`, randomBytes(100))));
      await Promise.all(
        Array.from({ length: 40 }, (_, nth) => {
          const { path, bytes } = cachedObject(round, nth);
          return place.put(path, bytes);
        }),
      );
      expect(await diskBytes()).toBeLessThanOrEqual(mebibyte);
      expect((await place.list('index')).length).toBeGreaterThan(0);
    }
  });

  it('keeps no file that would push out most of the others', async () => {
    const cache = openCache({ maxBytes: mebibyte });
    await cache.place('a').put(`data/${id}/0.400000`, randomBytes(400_000));
    expect(cache.counts().writtenBytes).toBe(0);
  });

  it('removes what dead processes left, and nothing that is not its own', async () => {
    const place = openCache().place('a');
    await place.put(cachedObject(1, 1).path, cachedObject(1, 1).bytes);
    const placeFolder = join(await fileOf(cachedObject(1, 1).path), '..', '..');
    const temporary = '01234567-89ab-cdef-0123-456789abcdef';
    const long = new Date(Date.now() - 24 * 3_600_000);
    const strange = [join(folder, 'notes'), join(folder, 'tmp', 'notes'), join(placeFolder, 'index', 'notes'), join(placeFolder, 'notes')];
    for (const file of [join(folder, 'tmp', temporary), ...strange]) {
      await writeFile(file, Buffer.alloc(2 * mebibyte));
      await utimes(file, long, long);
    }
    await writeFile(join(folder, 'tmp', temporary.replace('0', '1')), 'still written');
    const small = openCache({ maxBytes: mebibyte }).place('a');
    for (let nth = 0; nth < 20; nth++) await small.put(cachedObject(2, nth).path, cachedObject(2, nth).bytes);
    expect((await readdir(join(folder, 'tmp'))).toSorted()).toEqual([temporary.replace('0', '1'), 'notes'].toSorted());
    for (const file of strange) expect((await stat(file)).size).toBe(2 * mebibyte);
    expect(await diskBytes()).toBeLessThanOrEqual(mebibyte);
  });
});

describe('processes with one cache', () => {
  it('are killed in the middle of a fill, and what they leave is whole or not there', { timeout: 60_000 }, async () => {
    let roundCount = 0;
    for (let halfWritten = 0; halfWritten < 2; roundCount++) {
      if (roundCount === maxKills) throw new Error(`killed ${String(maxKills)} times, and never in the middle of a file`);
      const filler = await startFiller(roundCount, 64 * mebibyte);
      await sleep(roundCount % 20);
      filler.kill();
      await filler.ended;
      halfWritten = (await readdir(join(folder, 'tmp'))).length;
    }
    const cache = openCache({ maxBytes: 64 * mebibyte });
    const place = cache.place('shop');
    const names = await place.list('index');
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) expect(hash(await place.get(`index/${name}`))).toBe(name);
    expect(cache.counts()).toMatchObject({ hits: names.length, damaged: 0 });
  });

  it('write and evict at once, and each finds what the others have', { timeout: 60_000 }, async () => {
    const maxBytes = 4 * mebibyte;
    const fillers = [await startFiller(1, maxBytes), await startFiller(2, maxBytes)];
    const cache = openCache({ maxBytes });
    const place = cache.place('shop');
    let found = 0;
    let highestBytes = 0;
    for (let round = 0; round < 200; round++) {
      for (const name of (await place.list('index')).slice(0, 5)) {
        const bytes = await place.get(`index/${name}`);
        if (bytes === null) continue;
        expect(hash(bytes)).toBe(name);
        found++;
      }
      await place.put(cachedObject(3, round).path, cachedObject(3, round).bytes);
      highestBytes = Math.max(highestBytes, await diskBytes());
    }
    for (const filler of fillers) {
      filler.kill();
      await filler.ended;
    }
    expect(found).toBeGreaterThan(0);
    expect(cache.counts()).toMatchObject({ damaged: 0, failures: 0 });
    // Each of the three by what it writes between two looks, and the file in hand.
    expect(highestBytes).toBeLessThanOrEqual(maxBytes + 3 * (maxBytes / 16 + 2 * 204_800));
  });
});

interface Filler {
  readonly ended: Promise<unknown>;
  kill(): void;
}

async function startFiller(seed: number, maxBytes: number): Promise<Filler> {
  const entry = fileURLToPath(new URL('../testing/fill-cache.ts', import.meta.url));
  const child = spawn(process.execPath, [entry, folder, String(maxBytes), String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  return { ended, kill: () => void child.kill('SIGKILL') };
}

/** Where the only repository of the folder keeps it. */
async function fileOf(path: string): Promise<string> {
  const [place = ''] = (await readdir(folder)).filter((name) => /^[0-9a-f]{32}$/u.test(name));
  return join(folder, place, path);
}

async function diskBytes(): Promise<number> {
  return (await scanCache(folder)).reduce((sum, file) => sum + file.diskBytes, 0);
}

function same(found: Uint8Array | null, wanted: Uint8Array): boolean {
  return found !== null && Buffer.from(found).equals(wanted);
}

function hash(bytes: Uint8Array | null): string {
  return bytes === null ? 'nothing' : createHash('sha256').update(bytes).digest('hex');
}
