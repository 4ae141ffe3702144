import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type AdapterSettings, defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import type { SweepableStorage } from '../sweep.ts';
import { openFaultyLine } from '../testing/faulty-line.ts';
import { type FtpLine, openFtpLine } from '../testing/ftp-line.ts';
import { type FtpProgram, type FtpTestServer, startFtpServer } from '../testing/ftp-server.ts';
import { openRetryingStorage } from '../wrappers/retrying-storage.ts';
import { temporaryPrefix } from './ftp-listing.ts';
import type { FtpOptions } from './ftp-options.ts';
import { openFtpStorage } from './ftp-storage.ts';

/** Short delays: the line is good again at once. */
const policy = { firstDelayMs: 10, maxDelayMs: 200, giveUpAfterMs: 60_000 };
const stallTimeoutMs = 3_000;
const wantedCuts = 120;
const maxObjectBytes = 400_000;
const inFuture = (): Date => new Date(Date.now() + 48 * 60 * 60 * 1000);

describe.each(['pure-ftpd', 'vsftpd'] satisfies FtpProgram[])('ftp over a bad line to %s', (program) => {
  let server: FtpTestServer;
  beforeAll(async () => {
    server = await startFtpServer({ program });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it(`keeps every object through ${String(wantedCuts)} cuts in both directions, of control and of data`, async () => {
    const line = await opened(openFtpLine(server));
    const inner = await storageOver(server, line.port, 'cuts', { maxConnections: 4 });
    const storage = openRetryingStorage(inner, policy);
    const random = seededRandom(20_261_126);
    const kept = new Map<string, Buffer>();
    const work = async (worker: number): Promise<void> => {
      for (let round = 0; line.struck().cuts < wantedCuts && round < 400; round += 1) {
        strike(line, 'up', random);
        const name = `data/${String(worker)}${String(round % 10)}/${randomBytes(8).toString('hex')}`;
        const bytes = randomBytes(round % 9 === 0 ? 0 : Math.floor(random() * maxObjectBytes));
        await storage.put(name, bytes);
        kept.set(name, bytes);
        strike(line, 'down', random);
        expect(bytes.equals(await storage.get(name))).toBe(true);
        if (round % 5 === 0) await Array.fromAsync(storage.list(`data/${String(worker)}${String(round % 10)}/`));
        if (round % 4 !== 0) continue;
        await storage.delete(name);
        kept.delete(name);
      }
    };
    await Promise.all([0, 1, 2, 3].map(work));
    const { cuts, dataStrikes } = line.struck();
    expect(cuts).toBeGreaterThanOrEqual(wantedCuts);
    expect(dataStrikes).toBeGreaterThan(20);
    expect(cuts - dataStrikes).toBeGreaterThan(20);
    await expectExactly(server, 'cuts', kept);
  });

  it('ends calls on a line that went silent, in every direction, of control and of data', async () => {
    const objects = new Map([['data/ab/there', randomBytes(2_000_000)]]);
    const direct = await storageOver(server, server.port, 'stalls', {});
    for (const [name, bytes] of objects) await direct.put(name, bytes);
    const body = randomBytes(2_000_000);
    const calls: readonly (readonly [string, (line: FtpLine) => void, (storage: Storage) => Promise<unknown>])[] = [
      ['put, data up', (line) => line.strikeData('stall', 'up', 700_000), (storage) => storage.put('data/ab/put', body)],
      ['put, first byte', (line) => line.strikeData('stall', 'up', 1), (storage) => storage.put('data/ab/put', Buffer.from('ab'))],
      ['get, data down', (line) => line.strikeData('stall', 'down', 700_000), (storage) => storage.get('data/ab/there')],
      ['list, data down', (line) => line.strikeData('stall', 'down', 5), (storage) => Array.fromAsync(storage.list('data/'))],
      ['stat, control down', (line) => line.control.strike('stall', 'down', 100), (storage) => storage.stat('data/ab/there')],
      ['stat, control up', (line) => line.control.strike('stall', 'up', 20), (storage) => storage.stat('data/ab/there')],
      ['delete, greeting', (line) => line.control.strike('stall', 'down', 1), (storage) => storage.delete('data/ab/none')],
    ];
    await Promise.all(
      calls.map(async ([what, stall, call]) => {
        const line = await opened(openFtpLine(server));
        const storage = await storageOver(server, line.port, 'stalls', { idleTimeoutMs: stallTimeoutMs });
        stall(line);
        const startedAtMs = performance.now();
        const [outcome] = await Promise.allSettled([call(storage)]);
        expect(outcome.status === 'rejected' && isHoldfastError(outcome.reason, 'storage_unreachable'), what).toBe(true);
        expect(performance.now() - startedAtMs, what).toBeGreaterThan(stallTimeoutMs * 0.8);
        expect(performance.now() - startedAtMs, what).toBeLessThan(stallTimeoutMs * 3);
        expect(line.struck().stalls, what).toBe(1);
      }),
    );
    await expectExactly(server, 'stalls', objects);
  });

  it('goes on when the server was killed and started again in the middle', async () => {
    const inner = await storageOver(server, server.port, 'restart', { maxConnections: 4 });
    const storage = openRetryingStorage(inner, policy);
    const kept = new Map(Array.from({ length: 60 }, (_, index) => [`data/ab/${String(index)}`, randomBytes(200_000)]));
    const { promise: tenDone, resolve } = Promise.withResolvers<void>();
    let doneCount = 0;
    const puts = [...kept].map(async ([name, bytes]) => {
      await storage.put(name, bytes);
      doneCount += 1;
      if (doneCount === 10) resolve();
    });
    await tenDone;
    await server.kill();
    const leftCount = kept.size - doneCount;
    await sleep(300);
    await server.program.start();
    await Promise.all(puts);
    expect(leftCount).toBeGreaterThan(0);
    await expectExactly(server, 'restart', kept);
  });
});

describe('ftp over a silent line', () => {
  let server: FtpTestServer;
  beforeAll(async () => {
    server = await startFtpServer({ program: 'pure-ftpd' });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it('keeps every object through stalls, by trying again', async () => {
    const line = await opened(openFtpLine(server));
    const inner = await storageOver(server, line.port, 'silences', { idleTimeoutMs: stallTimeoutMs, maxConnections: 4 });
    const storage = openRetryingStorage(inner, policy);
    const kept = new Map(Array.from({ length: 12 }, (_, index) => [`data/ab/${String(index)}`, randomBytes(300_000)]));
    await storage.put('config', Buffer.from('x'));
    for (const afterBytes of [1, 100_000, 250_000, 299_000]) line.strikeData('stall', 'up', afterBytes);
    for (const afterBytes of [100, 300]) line.control.strike('stall', 'down', afterBytes);
    await Promise.all([...kept].map(([name, bytes]) => storage.put(name, bytes)));
    for (const afterBytes of [1, 100_000, 250_000, 299_000]) line.strikeData('stall', 'down', afterBytes);
    const got = await Promise.all([...kept.keys()].map((name) => storage.get(name)));
    expect(got.map(sha256)).toEqual([...kept.values()].map(sha256));
    expect(line.struck().stalls).toBeGreaterThanOrEqual(8);
    await expectExactly(server, 'silences', kept.set('config', Buffer.from('x')));
  });

  it('passes over stalls and cuts with TLS, its handshake among them', async () => {
    const line = await opened(openFaultyLine(server));
    const inner = await storageOver(server, line.port, 'tls', { idleTimeoutMs: stallTimeoutMs, maxConnections: 2 }, { tls: 'explicit' });
    const storage = openRetryingStorage(inner, policy);
    const kept = new Map<string, Buffer>();
    for (const [index, afterBytes] of [300, 900, 1500, 2500, 4000].entries()) {
      line.strike('cut', index % 2 === 0 ? 'down' : 'up', afterBytes);
      if (index === 0) line.strike('stall', 'down', 700);
      const name = `data/ab/${String(index)}`;
      kept.set(name, randomBytes(1000));
      await storage.put(name, kept.get(name) ?? Buffer.alloc(0));
      for (let more = 0; line.counts.cuts <= index && more < 200; more += 1) await storage.get(name);
    }
    expect(line.counts.cuts).toBe(5);
    expect(line.counts.stalls).toBe(1);
    await expectExactly(server, 'tls', kept);
  });

  it('stops within a second when it is aborted on a silent line', async () => {
    const line = await opened(openFtpLine(server));
    const storage = await storageOver(server, line.port, 'abort', {});
    await storage.put('data/ab/first', randomBytes(1));
    line.strikeData('stall', 'up', 100_000);
    const controller = new AbortController();
    const put = Promise.allSettled([storage.put('data/ab/a', randomBytes(2_000_000), { signal: controller.signal })]);
    while (line.struck().stalls === 0) await sleep(5);
    const reason = new Error('stop');
    const abortedAtMs = performance.now();
    controller.abort(reason);
    expect((await put)[0]).toEqual({ status: 'rejected', reason });
    expect(performance.now() - abortedAtMs).toBeLessThan(1000);
  });
});

/** On data in the direction in which it will go, or on control in either; after as many bytes as an object or a session may have. */
function strike(line: FtpLine, direction: 'up' | 'down', random: () => number): void {
  if (random() < 0.6) line.strikeData('cut', direction, 1 + Math.floor(random() * maxObjectBytes * 0.4));
  else line.control.strike('cut', random() < 0.5 ? 'up' : 'down', 1 + Math.floor(random() * 600));
}

/** By a storage of its own on a good line: every object byte for byte, no other, and no temporary file that a sweep leaves. */
async function expectExactly(server: FtpTestServer, path: string, kept: ReadonlyMap<string, Buffer>): Promise<void> {
  const storage = await storageOver(server, server.port, path, {});
  expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name).toSorted()).toEqual([...kept.keys()].toSorted());
  for (const [name, bytes] of kept) expect(sha256(await storage.get(name))).toBe(sha256(bytes));
  await storage.sweep(inFuture());
  const left = await readdir(join(server.home, path), { recursive: true });
  expect(left.filter((name) => name.includes(temporaryPrefix))).toEqual([]);
}

async function storageOver(
  server: FtpTestServer,
  port: number,
  path: string,
  settings: Partial<AdapterSettings>,
  options: Partial<FtpOptions> = {},
): Promise<Storage & SweepableStorage> {
  const all = { ...defaultAdapterSettings, ...settings };
  const storage = await openFtpStorage(
    server.options({ port, path, tls: 'none', verifyUploads: 'size', ...options }),
    server.credentials,
    all,
  );
  onTestFinished(() => storage.close());
  return storage;
}

async function opened<T extends AsyncDisposable>(opening: Promise<T>): Promise<T> {
  const thing = await opening;
  onTestFinished(() => thing[Symbol.asyncDispose]());
  return thing;
}

/** The same faults in every run (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
