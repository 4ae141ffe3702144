import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openLimitingStorage } from './limiting-storage.ts';
import { openLocalStorage } from '../local/local-storage.ts';
import { openMemoryStorage } from '../memory-storage.ts';
import { describeStorageContract } from '../testing/storage-contract.ts';
import { burstMs } from './token-bucket.ts';

const fast = { uploadBytesPerSecond: 2 ** 30, downloadBytesPerSecond: 2 ** 30 };

describeStorageContract('limiting', async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-limiting-'));
  return {
    storage: openLimitingStorage(await openLocalStorage({ path }), fast),
    second: await openLocalStorage({ path }),
    dispose: () => rm(path, { recursive: true }),
  };
});

const bytesPerSecond = 1_000_000;
const object = Buffer.alloc(100_000);
/** Five objects of a tenth of a second each, less the burst. */
const dueMs = 500 - burstMs;
/** Timers and a busy machine. */
const slackMs = 200;

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

const five = (work: (name: string) => Promise<unknown>): Promise<unknown> =>
  Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => work(`data/00/${name}`)));

describe('a limiting storage', () => {
  it('holds the rate upwards, for calls side by side, and only upwards', async () => {
    const storage = openLimitingStorage(openMemoryStorage(), { uploadBytesPerSecond: bytesPerSecond });
    const upMs = await elapsed(() => five((name) => storage.put(name, [object.subarray(0, 1), object.subarray(1)])));
    expect(upMs).toBeGreaterThanOrEqual(dueMs);
    expect(upMs).toBeLessThan(dueMs + slackMs);
    expect(await elapsed(() => five((name) => storage.get(name)))).toBeLessThan(slackMs);
  });

  it.each([undefined, { offsetBytes: 0, lengthBytes: object.byteLength }])('holds the rate downwards, range %j', async (range) => {
    const storage = openLimitingStorage(openMemoryStorage(), { downloadBytesPerSecond: bytesPerSecond });
    expect(await elapsed(() => five((name) => storage.put(name, object)))).toBeLessThan(slackMs);
    const downMs = await elapsed(() => five((name) => storage.get(name, range === undefined ? {} : { range })));
    expect(downMs).toBeGreaterThanOrEqual(dueMs);
    expect(downMs).toBeLessThan(dueMs + slackMs);
  });

  it('lets locks by, while a pack waits for minutes', async () => {
    const storage = openLimitingStorage(openMemoryStorage(), { uploadBytesPerSecond: 1000 });
    const controller = new AbortController();
    const waiting = storage.put('data/00/a', object, { signal: controller.signal });
    expect(await elapsed(() => storage.put('locks/a', Buffer.alloc(300)))).toBeLessThan(slackMs);
    controller.abort(new Error('stop'));
    await expect(waiting).rejects.toThrow('stop');
  });

  it('ends a wait that is aborted at once, stores nothing of it, and does not count its bytes', async () => {
    const inner = openMemoryStorage();
    const storage = openLimitingStorage(inner, { uploadBytesPerSecond: 1000 });
    const endedMs = await elapsed(() =>
      expect(storage.put('data/00/a', object, { signal: AbortSignal.timeout(50) })).rejects.toThrow(/timeout/),
    );
    expect(endedMs).toBeLessThan(50 + slackMs);
    expect(await Array.fromAsync(inner.list(''))).toEqual([]);
    expect(await elapsed(() => storage.put('data/00/b', Buffer.alloc(100)))).toBeLessThan(slackMs);
  });

  it('gives threads no way round', async () => {
    expect((await openLocalStorage({ path: '/nowhere' })).threadOptions).toBeDefined();
    expect(openLimitingStorage(await openLocalStorage({ path: '/nowhere' }), fast).threadOptions).toBeUndefined();
  });
});
