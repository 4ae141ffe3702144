import { createChunker, createFixedChunker } from '@holdfast/restic-format/chunker';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { expect, it } from 'vitest';
import type { InspectedChunk } from '../archive-stream/chunk-inspection.ts';
import { createFileStorer } from '../file-storer.ts';
import { noise } from '../testing/test-repository.ts';
import { ChunkBuffers } from './chunk-buffers.ts';
import { ChunkStream, type ChunkStreamOptions, type ChunksToStore, type ReadStream, type StoredChunks } from './chunk-stream.ts';

const polynomial = 0x3da3358b4dc173n;
const onBytes = (): void => {};

/** Hashes chunks in no hurry. */
async function hashChunks({ buffer, lengths, subjects }: ChunksToStore): Promise<StoredChunks> {
  const ids: ObjectId[] = [];
  let at = 0;
  for (const length of lengths) ids.push(hashOf(buffer.subarray(at, (at += length))));
  const reports = subjects?.map((subject, nth) => subject && Uint32Array.of(...subject, lengths[nth] ?? 0)) ?? [];
  // What comes back is not what went.
  return { ids, buffer: new Uint8Array(buffer.length), reports };
}

function optionsFor(store: ChunkStreamOptions['store'] = hashChunks, signal = new AbortController().signal): ChunkStreamOptions {
  return { chunker: createChunker(polynomial), buffers: new ChunkBuffers(2, signal), store, signal };
}

/** Gives odd amounts. */
function reading(bytes: Uint8Array): ReadStream {
  return async (into, positionBytes) => {
    const part = bytes.subarray(positionBytes, positionBytes + Math.min(into.length, 77_777));
    into.set(part);
    return part.length;
  };
}

/** What the leading thread alone makes of the file. */
async function contentAlone(bytes: Uint8Array): Promise<readonly ObjectId[]> {
  const sink = { save: async (_type: unknown, plain: Uint8Array) => ({ id: hashOf(plain), isNew: true }) };
  const file = { read: reading(bytes), close: async () => {} };
  const storer = createFileStorer({ source: { openFile: async () => file }, sink: sink as never, polynomial });
  const stored = await storer.store('/file', { signal: new AbortController().signal, onBytes: () => {}, sizeBytes: bytes.length });
  return stored.kind === 'stored' ? stored.content : [];
}

it('cuts files that lie side by side as one who has each for itself', async () => {
  const files = [
    noise(20_000_000, 1),
    new Uint8Array(),
    new Uint8Array(19_000_000),
    ...Array.from({ length: 3000 }, (_, nth) => Buffer.from(`tiny ${nth}`)),
    noise(4 * 1024 * 1024, 2),
    noise(600_000, 3),
    new Uint8Array(8 * 1024 * 1024),
    Buffer.from('last'),
  ];
  const stream = new ChunkStream(optionsFor());
  let heard = 0;
  const streamed = [];
  for (const bytes of files) streamed.push(await stream.add(reading(bytes), { onBytes: (count) => (heard += count) }));
  await stream.flush();
  for (const [nth, bytes] of files.entries()) {
    expect(streamed[nth]?.sizeBytes).toBe(bytes.length);
    expect(await streamed[nth]?.content).toEqual(await contentAlone(bytes));
  }
  expect(heard).toBe(files.reduce((sum, { length }) => sum + length, 0));
});

it('tells what was found in the chunks of each file that is inspected, in their order', async () => {
  const stream = new ChunkStream({ ...optionsFor(), chunker: createFixedChunker(1_000_000) });
  const told: (readonly [string, number, readonly number[]])[] = [];
  const add = async (name: string, bytes: Uint8Array, subject: number): Promise<void> => {
    const onInspected = (chunks: readonly InspectedChunk[]): void => {
      told.push(...chunks.map(({ sizeBytes, report }) => [name, sizeBytes, [...report]] as const));
    };
    await stream.add(reading(bytes), { onBytes, inspection: { subject: Uint32Array.of(subject), onInspected } });
  };
  await add('small', new Uint8Array(10), 1);
  await stream.add(reading(new Uint8Array(20)), { onBytes });
  await add('empty', new Uint8Array(), 2);
  await add('large', noise(9_500_000, 7), 3);
  await stream.flush();
  const parts = Array.from({ length: 9 }, () => ['large', 1_000_000, [3, 1_000_000]]);
  await expect.poll(() => told).toEqual([['small', 10, [1, 10]], ...parts, ['large', 500_000, [3, 500_000]]]);
});

it('goes on after a file that could not be read to its end', async () => {
  const stream = new ChunkStream(optionsFor());
  const before = await stream.add(reading(Buffer.from('before')), { onBytes });
  const beginning = reading(noise(10_000_000, 4));
  const failing: ReadStream = async (into, positionBytes) => {
    if (positionBytes > 9_000_000) throw new Error('broken');
    return await beginning(into, positionBytes);
  };
  await expect(stream.add(failing, { onBytes })).rejects.toThrow('broken');
  const after = await stream.add(reading(Buffer.from('after')), { onBytes });
  await stream.flush();
  expect(await before.content).toEqual([hashOf(Buffer.from('before'))]);
  expect(await after.content).toEqual([hashOf(Buffer.from('after'))]);
});

it('reads no further than the places on the way allow, and goes on when one arrives', async () => {
  const arrivals: (() => void)[] = [];
  const stream = new ChunkStream(
    optionsFor(async (chunks) => {
      await new Promise<void>((resolve) => arrivals.push(resolve));
      return await hashChunks(chunks);
    }),
  );
  const bytes = noise(100_000_000, 5);
  let readBytes = 0;
  const added = stream.add(
    async (into, positionBytes) => {
      const count = await reading(bytes)(into, positionBytes);
      readBytes += count;
      return count;
    },
    { onBytes },
  );
  await expect.poll(() => arrivals.length).toBe(4);
  await new Promise((resolve) => setTimeout(resolve, 20));
  // Four on the way and one that is filled; any may have grown to find a cut.
  expect(readBytes).toBeLessThan(5 * 9 * 1024 * 1024);
  const stoppedAt = readBytes;
  arrivals.shift()?.();
  await expect.poll(() => readBytes).toBeGreaterThan(stoppedAt);
  const letAll = setInterval(() => arrivals.splice(0).forEach((arrive) => arrive()));
  const { content } = await added;
  await stream.flush();
  await content;
  clearInterval(letAll);
  expect(readBytes).toBe(bytes.length);
});

it('who waits for a place hears of an abort', async () => {
  const abort = new AbortController();
  const { promise, reject } = Promise.withResolvers<StoredChunks>();
  abort.signal.addEventListener('abort', () => reject(abort.signal.reason));
  const stream = new ChunkStream(optionsFor(() => promise, abort.signal));
  const added = stream.add(reading(noise(60_000_000, 6)), { onBytes });
  setTimeout(() => abort.abort(new Error('enough')), 50);
  await expect(added).rejects.toThrow('enough');
});
