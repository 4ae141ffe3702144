import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Storage } from '../storage.ts';
import type { SweepableStorage } from '../sweep.ts';
import { type FaultyLine, openFaultyLine } from '../testing/faulty-line.ts';
import { startSftpServer, type SftpServer } from '../testing/sftp-server.ts';
import { openRetryingStorage, type RetryPolicy } from '../wrappers/retrying-storage.ts';

const policy: RetryPolicy = { firstDelayMs: 20, maxDelayMs: 200, giveUpAfterMs: 60_000 };
const stallSettings = { idleTimeoutMs: 3_000, maxConnections: 4 };
const maxObjectSizeBytes = 1_500_000;

describe('an sftp storage on a bad line', () => {
  let server: SftpServer;
  beforeAll(async () => {
    server = await startSftpServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const openLine = async (): Promise<FaultyLine> => {
    const line = await openFaultyLine(server);
    onTestFinished(() => line[Symbol.asyncDispose]());
    return line;
  };
  const openThrough = async (line: FaultyLine, folder: string, settings = stallSettings): Promise<Storage & SweepableStorage> => {
    const storage = await server.open({ port: line.port, path: join(server.folder, folder) }, settings);
    onTestFinished(() => storage.close());
    return storage;
  };

  it.each([1, 2])('keeps every object through cuts, stalls and a restart (seed %i)', async (seed) => {
    const strikeCount = 30;
    const random = randomOf(seed);
    const line = await openLine();
    const inner = await openThrough(line, `faults-${String(seed)}`);
    const storage = openRetryingStorage(inner, policy);
    const made = (): number => line.counts.cuts + line.counts.stalls;
    const isOver = (): boolean => made() >= strikeCount;

    const striking = async (): Promise<void> => {
      while (!isOver()) {
        const before = made();
        // Most of the time a few connections fall in their handshake, which has some thousand bytes.
        const afterBytes = Math.floor(random() * (random() < 0.3 ? 3_000 : 2_000_000));
        line.strike(random() < 0.12 ? 'stall' : 'cut', random() < 0.5 ? 'up' : 'down', afterBytes);
        while (made() === before) await sleep(5);
        if (made() === strikeCount / 2) {
          await server.kill();
          await sleep(300);
          await server.start();
        }
      }
    };
    const kept = await workers(storage, random, isOver, striking());
    line.heal();

    const listed = await Array.fromAsync(storage.list(''));
    expect(listed.map(({ name, sizeBytes }) => `${name} ${String(sizeBytes)}`).toSorted()).toEqual(
      [...kept].map(([name, bytes]) => `${name} ${String(bytes.byteLength)}`).toSorted(),
    );
    for (const [name, bytes] of kept) expect(bytes.equals(await storage.get(name)), name).toBe(true);
    const temporaries = async (): Promise<string[]> => {
      const files = await readdir(join(server.folder, `faults-${String(seed)}`), { recursive: true });
      return files.filter((name) => name.includes('.tmp-'));
    };
    const leftCount = (await temporaries()).length;
    expect(await inner.sweep(new Date(Date.now() + 60_000))).toBe(leftCount);
    expect(await temporaries()).toEqual([]);
    expect(made()).toBeGreaterThanOrEqual(strikeCount);
    expect(line.counts.cuts).toBeGreaterThan(line.counts.stalls);
  });

  it('ends what has stalled by itself, and what is aborted meanwhile in a second', async () => {
    const bytes = randomBytes(4_000_000);
    const begin = async (): Promise<{ line: FaultyLine; storage: Storage }> => {
      const line = await openLine();
      const storage = await openThrough(line, 'stalls');
      await storage.put(`keys/${randomBytes(8).toString('hex')}`, bytes);
      return { line, storage };
    };
    const first = await begin();
    const name = (await Array.fromAsync(first.storage.list('keys/')))[0]?.name ?? '';
    const stalled = async (direction: 'up' | 'down', afterBytes: number, work: (storage: Storage) => Promise<unknown>): Promise<void> => {
      const { line, storage } = await begin();
      line.strike('stall', direction, afterBytes);
      const startedAtMs = performance.now();
      await expect(work(storage)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
      expect(line.counts.stalls).toBe(1);
      expect(performance.now() - startedAtMs).toBeLessThan(8_000);
      // The connection is dropped, and the next call has a new one.
      await storage.stat(name);
    };
    const aborted = async (direction: 'up' | 'down', work: (storage: Storage, signal: AbortSignal) => Promise<unknown>): Promise<void> => {
      const { line, storage } = await begin();
      line.strike('stall', direction, 100_000);
      const controller = new AbortController();
      const reason = new Error('stop');
      const outcome = Promise.allSettled([work(storage, controller.signal)]);
      await sleep(700);
      const abortedAtMs = performance.now();
      controller.abort(reason);
      expect(await outcome).toEqual([{ status: 'rejected', reason }]);
      expect(performance.now() - abortedAtMs).toBeLessThan(1_000);
    };
    await Promise.all([
      stalled('up', 1_000_000, (storage) => storage.put('keys/up', bytes)),
      stalled('down', 10, (storage) => storage.put('keys/down', bytes)),
      stalled('down', 1_000_000, (storage) => storage.get(name)),
      stalled('up', 1, (storage) => storage.get(name)),
      stalled('down', 40, (storage) => Array.fromAsync(storage.list(''))),
      stalled('down', 40, (storage) => storage.delete(name.replace('keys/', 'locks/'))),
      aborted('up', (storage, signal) => storage.put('keys/aborted', bytes, { signal })),
      aborted('down', (storage, signal) => storage.get(name, { signal })),
    ]);
  });

  it('ends a login that has stalled', async () => {
    for (const [direction, afterBytes] of [
      ['down', 10],
      ['up', 1_500],
    ] as const) {
      const line = await openLine();
      line.strike('stall', direction, afterBytes);
      const storage = await openThrough(line, 'logins', { idleTimeoutMs: 1_000, maxConnections: 1 });
      await expect(storage.stat('config')).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
      expect(line.counts.stalls).toBe(1);
    }
  });
});

/** Puts, gets, lists and deletes of four workers until it is over; what is then to be there. */
async function workers(
  storage: Storage,
  random: () => number,
  isOver: () => boolean,
  striking: Promise<void>,
): Promise<Map<string, Buffer>> {
  const kept = new Map<string, Buffer>();
  const worker = async (number: number): Promise<void> => {
    const own: string[] = [];
    while (!isOver()) {
      const name = `data/0${String(number)}/${randomBytes(16).toString('hex')}`;
      const bytes = randomBytes(Math.floor(random() * maxObjectSizeBytes));
      await storage.put(name, bytes);
      kept.set(name, bytes);
      own.push(name);
      const other = own[Math.floor(random() * own.length)] ?? name;
      const expected = kept.get(other) ?? Buffer.alloc(0);
      expect(expected.equals(await storage.get(other)), other).toBe(true);
      const offsetBytes = Math.floor(random() * expected.byteLength);
      const lengthBytes = Math.floor(random() * (expected.byteLength - offsetBytes));
      const part = await storage.get(other, { range: { offsetBytes, lengthBytes } });
      expect(expected.subarray(offsetBytes, offsetBytes + lengthBytes).equals(part), other).toBe(true);
      if (random() < 0.3) {
        const names = (await Array.fromAsync(storage.list(`data/0${String(number)}/`))).map((object) => object.name);
        expect(names.toSorted()).toEqual(own.toSorted());
      }
      if (random() < 0.3) {
        await storage.delete(other);
        kept.delete(other);
        own.splice(own.indexOf(other), 1);
      }
    }
  };
  await Promise.all([striking, ...[1, 2, 3, 4].map(worker)]);
  return kept;
}

/** Mulberry32: the same sequence for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
