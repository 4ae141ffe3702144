import { createChunker } from '@holdfast/restic-format/chunker';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { expect, it } from 'vitest';
import { createFileStorer } from '../file-storer.ts';
import { noise } from '../testing/test-repository.ts';
import { ChunkBuffers } from './chunk-buffers.ts';
import { ChunkStream, type ChunkStreamOptions, type ReadStream, type StoredChunks } from './chunk-stream.ts';

const polynomial = 0x3da3358b4dc173n;

/** Hashes chunks in no hurry. */
async function hashChunks(buffer: Uint8Array<ArrayBuffer>, lengths: Uint32Array): Promise<StoredChunks> {
  const ids: ObjectId[] = [];
  let at = 0;
  for (const length of lengths) ids.push(hashOf(buffer.subarray(at, (at += length))));
  // What comes back is not what went.
  return { ids, buffer: new Uint8Array(buffer.length) };
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
  for (const bytes of files) streamed.push(await stream.add(reading(bytes), (count) => (heard += count)));
  await stream.flush();
  for (const [nth, bytes] of files.entries()) {
    expect(streamed[nth]?.sizeBytes).toBe(bytes.length);
    expect(await streamed[nth]?.content).toEqual(await contentAlone(bytes));
  }
  expect(heard).toBe(files.reduce((sum, { length }) => sum + length, 0));
});

it('goes on after a file that could not be read to its end', async () => {
  const stream = new ChunkStream(optionsFor());
  const before = await stream.add(reading(Buffer.from('before')), () => {});
  const beginning = reading(noise(10_000_000, 4));
  const failing: ReadStream = async (into, positionBytes) => {
    if (positionBytes > 9_000_000) throw new Error('broken');
    return await beginning(into, positionBytes);
  };
  await expect(stream.add(failing, () => {})).rejects.toThrow('broken');
  const after = await stream.add(reading(Buffer.from('after')), () => {});
  await stream.flush();
  expect(await before.content).toEqual([hashOf(Buffer.from('before'))]);
  expect(await after.content).toEqual([hashOf(Buffer.from('after'))]);
});

it('reads no further than the places on the way allow, and goes on when one arrives', async () => {
  const arrivals: (() => void)[] = [];
  const stream = new ChunkStream(
    optionsFor(async (buffer, lengths) => {
      await new Promise<void>((resolve) => arrivals.push(resolve));
      return await hashChunks(buffer, lengths);
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
    () => {},
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
  const added = stream.add(reading(noise(60_000_000, 6)), () => {});
  setTimeout(() => abort.abort(new Error('enough')), 50);
  await expect(added).rejects.toThrow('enough');
});
