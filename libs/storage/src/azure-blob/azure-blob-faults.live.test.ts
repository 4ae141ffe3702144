import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type AdapterSettings, defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type AzureBlobServer, startAzureBlobServer } from '../testing/azure-blob-server.ts';
import { type FaultyLine, openFaultyLine } from '../testing/faulty-line.ts';
import { openRetryingStorage, type RetryPolicy } from '../wrappers/retrying-storage.ts';
import { openAzureBlobStorage } from './azure-blob-storage.ts';

const policy: RetryPolicy = { firstDelayMs: 20, maxDelayMs: 200, giveUpAfterMs: 60_000 };
const stallSettings: AdapterSettings = { idleTimeoutMs: 3000, maxConnections: 4 };
const cutSettings: AdapterSettings = { ...defaultAdapterSettings, maxConnections: 4 };
const wantedCuts = 60;
const wantedStalls = 4;

let server: AzureBlobServer;
beforeAll(async () => {
  server = await startAzureBlobServer({ persistence: 'memory' });
});
afterAll(() => server[Symbol.asyncDispose]());

async function openThrough(line: FaultyLine, settings: AdapterSettings): Promise<Storage> {
  const options = await server.newContainer({ prefix: 'a' }, line.port);
  const storage = await openAzureBlobStorage(options, { accountKey: server.accountKey }, settings);
  onTestFinished(() => storage.close());
  return storage;
}

/** mulberry32: the same faults in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Works on objects of its own, four calls at a time, and remembers what must be there. */
class Workload {
  readonly kept = new Map<string, Buffer>();
  readonly #storage: Storage;
  readonly #random: (below: number) => number;

  constructor(storage: Storage, random: (below: number) => number) {
    this.#storage = storage;
    this.#random = random;
  }

  async round(): Promise<void> {
    const fresh = Array.from(
      { length: 8 },
      () => [`data/ab/${randomBytes(32).toString('hex')}`, randomBytes(this.#random(200_000))] as const,
    );
    await Promise.all(
      fresh.map(async ([name, bytes]) => {
        const middle = this.#random(bytes.byteLength + 1);
        await this.#storage.put(name, [bytes.subarray(0, middle), bytes.subarray(middle)]);
        this.kept.set(name, bytes);
      }),
    );
    await Promise.all([...this.#some(6).map((name) => this.#read(name)), this.check()]);
    await Promise.all(
      this.#some(3).map(async (name) => {
        await this.#storage.delete(name);
        this.kept.delete(name);
      }),
    );
  }

  /** Everything is there, byte for byte, and nothing else is. */
  async check(isDeep = false): Promise<void> {
    const listed = await Array.fromAsync(this.#storage.list(''));
    expect(listed).toHaveLength(this.kept.size);
    expect(new Map(listed.map(({ name, sizeBytes }) => [name, sizeBytes]))).toEqual(
      new Map([...this.kept].map(([name, bytes]) => [name, bytes.byteLength])),
    );
    if (isDeep) for (const name of this.kept.keys()) await this.#read(name);
  }

  async #read(name: string): Promise<void> {
    const bytes = this.kept.get(name) ?? Buffer.alloc(0);
    expect(bytes.equals(await this.#storage.get(name))).toBe(true);
    const offsetBytes = this.#random(bytes.byteLength + 1);
    const lengthBytes = this.#random(bytes.byteLength - offsetBytes + 1);
    const part = await this.#storage.get(name, { range: { offsetBytes, lengthBytes } });
    expect(bytes.subarray(offsetBytes, offsetBytes + lengthBytes).equals(part)).toBe(true);
    expect((await this.#storage.stat(name)).sizeBytes).toBe(bytes.byteLength);
  }

  #some(count: number): string[] {
    const names = [...this.kept.keys()];
    return [...new Set(Array.from({ length: count }, () => names[this.#random(names.length)] ?? ''))];
  }
}

describe('azure_blob over a bad line, tried again', () => {
  it(`keeps every object through ${String(wantedCuts)} cuts`, async () => {
    await using line = await openFaultyLine(server);
    const random = seeded(1);
    const storage = openRetryingStorage(await openThrough(line, cutSettings), policy);
    const workload = new Workload(storage, random);
    for (let count = 0; count < wantedCuts; count += 1) line.strike('cut', random(2) === 0 ? 'up' : 'down', random(100_000));
    for (let rounds = 0; line.counts.cuts < wantedCuts && rounds < 100; rounds += 1) await workload.round();
    expect(line.counts.cuts).toBe(wantedCuts);
    line.heal();
    await workload.check(true);
    expect(workload.kept.size).toBeGreaterThan(10);
  });

  it(`keeps every object through ${String(wantedStalls)} stalls`, async () => {
    await using line = await openFaultyLine(server);
    const random = seeded(2);
    const storage = openRetryingStorage(await openThrough(line, stallSettings), policy);
    const workload = new Workload(storage, random);
    for (let count = 0; count < wantedStalls; count += 1) line.strike('stall', count % 2 === 0 ? 'up' : 'down', random(20_000));
    for (let rounds = 0; line.counts.stalls < wantedStalls && rounds < 100; rounds += 1) await workload.round();
    expect(line.counts.stalls).toBe(wantedStalls);
    line.heal();
    await workload.check(true);
  });

  it('takes a put whose answer was lost for done', async () => {
    await using line = await openFaultyLine(server);
    const storage = openRetryingStorage(await openThrough(line, cutSettings), policy);
    for (let count = 0; count < 5; count += 1) {
      const name = `keys/${randomBytes(32).toString('hex')}`;
      line.strike('cut', 'down', 1);
      await storage.put(name, Buffer.from(name));
      expect(Buffer.from(await storage.get(name)).toString()).toBe(name);
      line.strike('cut', 'down', 1);
      await storage.delete(name);
      expect(await Array.fromAsync(storage.list(''))).toEqual([]);
    }
    expect(line.counts.cuts).toBe(10);
  });

  it('goes on with a server that was killed and started again', async () => {
    await using fragile = await startAzureBlobServer({ persistence: 'files' });
    const options = await fragile.newContainer();
    const adapter = await openAzureBlobStorage(options, { accountKey: fragile.accountKey }, cutSettings);
    onTestFinished(() => adapter.close());
    const workload = new Workload(openRetryingStorage(adapter, policy), seeded(3));
    for (let rounds = 0; rounds < 4; rounds += 1) await workload.round();
    // Azurite writes down what it has every five seconds.
    const last = [...workload.kept.keys()].at(-1) ?? '';
    const database = join(fragile.folder, 'data', '__azurite_db_blob__.json');
    await vi.waitFor(async () => expect(await readFile(database, 'utf8')).toContain(last), { timeout: 20_000, interval: 200 });

    const reading = workload.check(true);
    await sleep(20);
    await fragile.program.kill();
    const writing = workload.round();
    await sleep(300);
    await fragile.program.start();
    await Promise.all([reading, writing]);
    await workload.check(true);
  });
});

describe('azure_blob over a bad line, each call once', () => {
  it('ends calls on a line that has gone silent, wherever it was', async () => {
    const body = randomBytes(3_000_000);
    const calls: Readonly<Record<string, (storage: Storage) => Promise<unknown>>> = {
      put: (storage) => storage.put('keys/b', body),
      get: (storage) => storage.get('keys/a'),
      stat: (storage) => storage.stat('keys/a'),
      list: (storage) => Array.fromAsync(storage.list('')),
      delete: (storage) => storage.delete('keys/a'),
    };
    const strikes = [
      ['put', 'up', 1_000_000],
      ['put', 'down', 1],
      ['get', 'up', 1],
      ['get', 'down', 1_000_000],
      ['stat', 'down', 10],
      ['list', 'down', 400],
      ['delete', 'down', 1],
    ] as const;
    await Promise.all(
      strikes.map(async ([call, direction, afterBytes]) => {
        await using line = await openFaultyLine(server);
        const storage = await openThrough(line, stallSettings);
        await storage.put('keys/a', body);
        line.strike('stall', direction, afterBytes);
        const startedAtMs = performance.now();
        await expect(calls[call]?.(storage)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'), call);
        expect(line.counts.stalls).toBe(1);
        expect(performance.now() - startedAtMs).toBeLessThan(2 * stallSettings.idleTimeoutMs + 3000);
      }),
    );
  });

  it('lets go of a call that is aborted on a silent line, and leaves nothing of it', async () => {
    await using line = await openFaultyLine(server);
    const storage = await openThrough(line, cutSettings);
    await storage.put('keys/a', randomBytes(1_000_000));
    const calls: ((signal: AbortSignal) => Promise<unknown>)[] = [
      (signal) => storage.put('keys/b', randomBytes(1_000_000), { signal }),
      (signal) => storage.get('keys/a', { signal }),
      (signal) => Array.fromAsync(storage.list('', { signal })),
    ];
    for (const [index, call] of calls.entries()) {
      const reason = new Error('stop');
      const controller = new AbortController();
      line.strike('stall', index === 0 ? 'up' : 'down', index === 2 ? 200 : 500_000);
      const settled = Promise.allSettled([call(controller.signal)]);
      await vi.waitFor(() => expect(line.counts.stalls).toBe(index + 1));
      const abortedAtMs = performance.now();
      controller.abort(reason);
      expect(await settled).toEqual([{ status: 'rejected', reason }]);
      expect(performance.now() - abortedAtMs).toBeLessThan(1000);
    }
    line.heal();
    expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name)).toEqual(['keys/a']);
  });

  it('sends for as long as bytes move, however slowly, with TLS and without', async () => {
    await Promise.all([false, true].map(sendSlowly));
  });
});

async function sendSlowly(isTls: boolean): Promise<void> {
  await using slow = await startAzureBlobServer({ persistence: 'memory', isTls });
  await using line = await openSlowLine(slow.port, 8_000_000);
  const options = await slow.newContainer({}, line.port);
  const storage = await openAzureBlobStorage(options, { accountKey: slow.accountKey }, { ...stallSettings, maxConnections: 1 });
  const startedAtMs = performance.now();
  await storage.put('config', Buffer.alloc(56_000_000, 1));
  expect(performance.now() - startedAtMs).toBeGreaterThan(2 * stallSettings.idleTimeoutMs);
  expect((await storage.stat('config')).sizeBytes).toBe(56_000_000);
  await storage.close();
}

/** A line that takes so many bytes a second from each client. */
async function openSlowLine(target: number, bytesPerSecond: number): Promise<{ readonly port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const there = connect(target, '127.0.0.1');
    there.pipe(client);
    client.on('data', (chunk) => {
      client.pause();
      there.write(chunk);
      setTimeout(() => client.resume(), (chunk.length / bytesPerSecond) * 1000);
    });
    for (const socket of [client, there]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        client.destroy();
        there.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the line has no port');
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      listener.close();
      await once(listener, 'close');
    },
  };
}
