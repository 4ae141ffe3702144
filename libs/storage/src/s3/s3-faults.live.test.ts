import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type FaultyLine, openFaultyLine } from '../testing/faulty-line.ts';
import { startRadosgwServer } from '../testing/radosgw-server.ts';
import { type S3Server, startS3Server } from '../testing/s3-server.ts';
import { openRetryingStorage } from '../wrappers/retrying-storage.ts';
import { openS3Storage } from './s3-storage.ts';

/** Long enough that nothing but a stall is taken for one on a busy machine. */
const idleTimeoutMs = 3_000;
const retries = { firstDelayMs: 20, maxDelayMs: 300, giveUpAfterMs: 60_000 };
const objectCount = 60;
const mostBytes = 700_000;

/** The same numbers at every run: below `limit`, from a seed. */
function seeded(seed: number): (limit: number) => number {
  let count = 0;
  return (limit) =>
    createHash('sha256')
      .update(`${seed}:${(count += 1)}`)
      .digest()
      .readUInt32BE() % limit;
}

function objectsOf(random: (limit: number) => number): Map<string, Buffer> {
  const folders = ['data/00', 'data/ff', 'index', 'snapshots', 'locks'];
  return new Map(
    Array.from({ length: objectCount }, (_, number) => {
      const id = createHash('sha256').update(String(number)).digest('hex');
      // Small ones too: of those the answer is struck more often than the body.
      const sizeBytes = random(3) === 0 ? random(500) : random(mostBytes);
      return [`${folders[number % folders.length]}/${id}`, Buffer.alloc(sizeBytes, id)] as const;
    }),
  );
}

async function expectExactly(storage: Storage, objects: ReadonlyMap<string, Buffer>): Promise<void> {
  const listed = (await Array.fromAsync(storage.list(''))).map(({ name, sizeBytes }) => [name, sizeBytes] as const);
  expect(new Map(listed)).toEqual(new Map([...objects].map(([name, bytes]) => [name, bytes.byteLength])));
  expect(listed).toHaveLength(objects.size);
  for (const [name, bytes] of objects) expect(bytes.equals(await storage.get(name)), name).toBe(true);
}

/** One strike after the other, as long as the work goes on, so that each counts its bytes from the last. */
async function struck(line: FaultyLine, strike: () => void, strikeCount: number, work: Promise<unknown>): Promise<void> {
  const state = { isOver: false };
  const over = (): boolean => (state.isOver = true);
  work.then(over, over);
  const counted = (): number => line.counts.cuts + line.counts.stalls;
  for (let made = 0; made < strikeCount && !state.isOver; made += 1) {
    const before = counted();
    strike();
    while (counted() === before && !state.isOver) await sleep(2);
  }
  line.heal();
  await work;
}

/** What both servers are to these tests. */
type FaultyServer = Pick<S3Server, 'port' | 'region' | 'credentials' | 'makeBucket' | 'kill' | 'start'> & AsyncDisposable;
const servers: [string, () => Promise<FaultyServer>][] = [
  ['Swift', startS3Server],
  ['Ceph', startRadosgwServer],
];

describe.each(servers)('a bucket of %s', (_kind, startServer) => {
  let server: FaultyServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  const open = async (port: number, bucket: string): Promise<Storage> =>
    openS3Storage({ type: 's3', endpoint: `http://127.0.0.1:${port}`, region: server.region, bucket, prefix: 'p' }, server.credentials, {
      ...defaultAdapterSettings,
      idleTimeoutMs,
    });

  it('keeps every byte through cuts and stalls of the line', { timeout: 100_000 }, async () => {
    const bucket = await server.makeBucket();
    await using line = await openFaultyLine(server);
    const storage = openRetryingStorage(await open(line.port, bucket), retries);
    const direct = await open(server.port, bucket);
    const random = seeded(7);
    const objects = objectsOf(random);
    /** Now near, in the head of a request or an answer, now far in its body; what goes the other way is never more than heads. */
    const strike = (bodies: 'up' | 'down') => (): void => {
      const direction = random(4) === 0 ? (bodies === 'up' ? 'down' : 'up') : bodies;
      const farBytes = direction === bodies ? mostBytes : 2_500;
      line.strike(random(8) === 0 ? 'stall' : 'cut', direction, 1 + random(random(2) === 0 ? 1_000 : farBytes));
    };
    const strikeCount = (): number => line.counts.cuts + line.counts.stalls;

    const puts = Promise.all([...objects].map(([name, bytes]) => storage.put(name, bytes)));
    await struck(line, strike('up'), 24, puts);
    await expectExactly(direct, objects);
    const afterPuts = strikeCount();
    expect(afterPuts).toBeGreaterThanOrEqual(20);

    const gets = Promise.all(
      [...objects].map(async ([name, bytes]) => {
        expect(bytes.equals(await storage.get(name)), name).toBe(true);
        if (bytes.byteLength < 100) return;
        const range = { offsetBytes: 50, lengthBytes: bytes.byteLength - 60 };
        expect(bytes.subarray(50, -10).equals(await storage.get(name, { range })), name).toBe(true);
      }),
    );
    await struck(line, strike('down'), 20, gets);
    const afterGets = strikeCount();
    expect(afterGets - afterPuts).toBeGreaterThanOrEqual(15);

    const lists = (async () => {
      for (let count = 0; count < 12; count += 1) expect(await Array.fromAsync(storage.list(''))).toHaveLength(objectCount);
    })();
    await struck(line, () => line.strike('cut', random(3) === 0 ? 'up' : 'down', 1 + random(8_000)), 8, lists);
    const afterLists = strikeCount();
    expect(afterLists - afterGets).toBeGreaterThanOrEqual(4);

    const gone = [...objects.keys()].filter((_, number) => number % 2 === 0);
    const deletes = Promise.all(gone.map((name) => storage.delete(name)));
    await struck(line, () => line.strike('cut', random(2) === 0 ? 'up' : 'down', 1 + random(1_500)), 8, deletes);
    for (const name of gone) objects.delete(name);
    await expectExactly(direct, objects);
    expect(strikeCount() - afterLists).toBeGreaterThanOrEqual(4);
    expect(strikeCount()).toBeGreaterThanOrEqual(45);
    await Promise.all([storage.close(), direct.close()]);
  });

  it('goes on when the server was killed and comes back', { timeout: 60_000 }, async () => {
    const bucket = await server.makeBucket();
    const storage = openRetryingStorage(await open(server.port, bucket), retries);
    const objects = objectsOf(seeded(11));
    const puts = Promise.all([...objects].map(([name, bytes]) => storage.put(name, bytes)));
    await sleep(150);
    await server.kill();
    await sleep(500);
    await server.start();
    await puts;
    await expectExactly(storage, objects);
    await storage.close();
  });

  it.concurrent.each<[string, 'up' | 'down', number, (storage: Storage) => Promise<unknown>]>([
    ['put', 'up', 100_000, (storage) => storage.put('data/ab/ab', Buffer.alloc(mostBytes))],
    ['put that is not answered', 'down', 1, (storage) => storage.put('data/ab/ac', Buffer.alloc(mostBytes))],
    ['get', 'down', 100_000, (storage) => storage.get('data/00/there')],
    ['list', 'down', 300, (storage) => Array.fromAsync(storage.list(''))],
    ['delete', 'up', 50, (storage) => storage.delete('data/00/nothing')],
  ])('ends a stalled %s when nothing has moved for a while', async (_, direction, afterBytes, call) => {
    const bucket = await server.makeBucket();
    const direct = await open(server.port, bucket);
    await direct.put('data/00/there', Buffer.alloc(mostBytes));
    await using line = await openFaultyLine(server);
    const storage = await open(line.port, bucket);
    line.strike('stall', direction, afterBytes);
    const startedAtMs = performance.now();
    await expect(call(storage)).rejects.toMatchObject({ code: 'storage_unreachable' });
    expect(line.counts.stalls).toBe(1);
    expect(performance.now() - startedAtMs).toBeGreaterThan(idleTimeoutMs - 100);
    expect(performance.now() - startedAtMs).toBeLessThan(idleTimeoutMs + 4_000);
    // Nothing of half a put.
    expect((await Array.fromAsync(direct.list(''))).map(({ name }) => name)).not.toContain('data/ab/ab');
    await Promise.all([storage.close(), direct.close()]);
  });
});
