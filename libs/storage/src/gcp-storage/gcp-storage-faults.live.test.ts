import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { makeCertificate } from '../testing/gcp-storage-certificate.ts';
import { type GcpStorageServer, openGcpStorageServer } from '../testing/gcp-storage-server.ts';
import { type FaultyLine, openFaultyLine } from '../testing/faulty-line.ts';
import { openRetryingStorage } from '../wrappers/retrying-storage.ts';
import { gcpStorageCredentialsSchema, gcpStorageOptionsSchema } from './gcp-storage-options.ts';
import { openGcpStorage } from './gcp-storage-storage.ts';

/** Cuts and stalls on the line to the stand-in server, at bytes that a seed chooses, with and without TLS. */

const idleTimeoutMs = 3_000;
const seed = 20_261_126;

interface Place {
  readonly server: GcpStorageServer;
  readonly line: FaultyLine;
  open(settings?: Partial<typeof defaultAdapterSettings>): Promise<Storage>;
}

async function withPlace(isTls: boolean, work: (place: Place) => Promise<void>): Promise<void> {
  const tls = isTls ? await makeCertificate() : undefined;
  await using server = await openGcpStorageServer(tls === undefined ? {} : { tls });
  await using line = await openFaultyLine(server);
  const origin = `${isTls ? 'https' : 'http'}://127.0.0.1:${String(line.port)}`;
  const credentials = gcpStorageCredentialsSchema.parse({ serviceAccountKey: server.addAccount({ origin }) });
  const given = { type: 'gcp_storage', bucket: server.bucketName, prefix: 'deep/down', endpoint: origin };
  const options = gcpStorageOptionsSchema.parse({ ...given, ...(tls === undefined ? {} : { caCertificate: tls.cert }) });
  await work({ server, line, open: (settings) => openGcpStorage(options, credentials, { ...defaultAdapterSettings, ...settings }) });
}

const retried = (storage: Storage): Storage => openRetryingStorage(storage, { firstDelayMs: 5, maxDelayMs: 100, giveUpAfterMs: 60_000 });

describe.each([
  ['without TLS', false],
  ['over TLS', true],
])('faults on the line to Google Cloud Storage %s', (_, isTls) => {
  it('loses nothing by cuts, and by a server that is killed and comes back', async () => {
    await withPlace(isTls, async ({ server, line, open }) => {
      const random = randomOf(seed);
      const storage = retried(await open());
      for (let index = 0; index < 60; index += 1) {
        const isUp = random() < 0.6;
        line.strike('cut', isUp ? 'up' : 'down', Math.ceil(random() ** 2 * (isUp ? 400_000 : 150_000)));
      }
      const expected = new Map<string, Buffer>();
      await workOn(storage, random, expected, 260, async (round) => {
        if (round !== 100) return;
        await server.kill();
        void sleep(300).then(() => server.start());
      });
      expect(line.counts.cuts).toBeGreaterThanOrEqual(45);
      line.heal();
      await assertExact(storage, server, expected);
      await storage.close();
    });
  });

  it('loses nothing by stalls', async () => {
    await withPlace(isTls, async ({ server, line, open }) => {
      const random = randomOf(seed + 1);
      const storage = retried(await open({ idleTimeoutMs }));
      for (let index = 0; index < 6; index += 1) {
        const isUp = index % 2 === 0;
        line.strike('stall', isUp ? 'up' : 'down', Math.ceil(random() * (isUp ? 200_000 : 60_000)));
      }
      const expected = new Map<string, Buffer>();
      await workOn(storage, random, expected, 80);
      expect(line.counts.stalls).toBe(6);
      await assertExact(storage, server, expected);
      await storage.close();
    });
  });

  it('ends each stalled call after the idle time, tokens too', async () => {
    const stalled = async (direction: 'up' | 'down', afterBytes: number, call: (storage: Storage) => Promise<unknown>): Promise<void> => {
      await withPlace(isTls, async ({ line, open }) => {
        const storage = await open({ idleTimeoutMs });
        await storage.put('data/ab/there', Buffer.alloc(2_000_000, 7));
        line.strike('stall', direction, afterBytes);
        const beganAtMs = performance.now();
        await expect(call(storage)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
        expect(performance.now() - beganAtMs).toBeGreaterThan(idleTimeoutMs - 500);
        expect(performance.now() - beganAtMs).toBeLessThan(idleTimeoutMs * 2.5);
        expect(line.counts.stalls).toBe(1);
        await storage.close();
      });
    };
    await Promise.all([
      stalled('up', 500_000, (storage) => storage.put('data/ab/new', Buffer.alloc(2_000_000))),
      stalled('down', 1, (storage) => storage.put('data/ab/new', Buffer.alloc(2_000_000))),
      stalled('down', 500_000, (storage) => storage.get('data/ab/there')),
      stalled('down', 10, (storage) => storage.stat('data/ab/there')),
      stalled('down', 100, (storage) => Array.fromAsync(storage.list(''))),
      stalled('up', 100, (storage) => storage.delete('data/ab/there')),
      withPlace(isTls, async ({ line, open }) => {
        const storage = await open({ idleTimeoutMs });
        // The signature is on its way, or the connection still being made.
        line.strike('stall', 'up', 700);
        await expect(storage.stat('config')).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
        expect(line.counts.stalls).toBe(1);
        await storage.close();
      }),
    ]);
  });
});

/** Puts, reads, lists and deletes, six at once, of objects of up to 200 kB; `expected` is what must be there in the end. */
async function workOn(
  storage: Storage,
  random: () => number,
  expected: Map<string, Buffer>,
  rounds: number,
  atRound?: (round: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < rounds) {
      const round = (next += 1);
      await atRound?.(round);
      const name = `data/${(round % 7).toString(16).padStart(2, '0')}/${createHash('sha256').update(String(round)).digest('hex')}`;
      const bytes = Buffer.alloc(Math.ceil(random() ** 3 * 200_000), round % 251);
      await storage.put(name, [bytes.subarray(0, 100), bytes.subarray(100)]);
      const offsetBytes = Math.floor(random() * bytes.byteLength);
      const range = { offsetBytes, lengthBytes: Math.min(5000, bytes.byteLength - offsetBytes) };
      expect(Buffer.compare(await storage.get(name, { range }), bytes.subarray(offsetBytes, offsetBytes + range.lengthBytes))).toBe(0);
      if (round % 3 === 0) expect(Buffer.compare(await storage.get(name), bytes)).toBe(0);
      if (round % 20 === 0) expect((await Array.fromAsync(storage.list('data/'))).some((object) => object.name === name)).toBe(true);
      if (round % 5 === 0) await storage.delete(name);
      else expected.set(name, bytes);
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
}

async function assertExact(storage: Storage, server: GcpStorageServer, expected: Map<string, Buffer>): Promise<void> {
  const names = [...expected.keys()].toSorted();
  expect((await Array.fromAsync(storage.list(''))).map(({ name }) => name).toSorted()).toEqual(names);
  // Nothing else is left in the bucket either.
  expect([...server.bucket.objects.keys()].toSorted()).toEqual(names.map((name) => `deep/down/${name}`));
  for (const [name, bytes] of expected) expect(Buffer.compare(await storage.get(name), bytes), name).toBe(0);
}

/** Numbers from 0 to 1 by a seed (mulberry32). */
function randomOf(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
