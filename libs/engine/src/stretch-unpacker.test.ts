import { compressBlob } from '@holdfast/restic-format/compression';
import { createCipher, generateMasterKeys } from '@holdfast/restic-format/cipher';
import { hashOf } from '@holdfast/restic-format/object-id';
import { describe, expect, it } from 'vitest';
import { createBlobUnpacker } from './blob-unpacker.ts';
import { createStretchUnpacker, type SealedBlob } from './stretch-unpacker.ts';
import { noise } from './testing/test-repository.ts';

const keys = generateMasterKeys();
const cipher = createCipher(keys);
/** Where the stretch begins in its pack. */
const start = 1000;

interface Stretch {
  readonly bytes: Uint8Array;
  readonly blobs: SealedBlob[];
  readonly plains: Uint8Array[];
}

function stretchOf(plains: Uint8Array[]): Stretch {
  const parts: Uint8Array[] = [];
  const blobs: SealedBlob[] = [];
  let offset = start;
  for (const plain of plains) {
    const compressed = compressBlob(plain, 'fastest');
    const sealed = cipher.seal(compressed ?? plain);
    const id = hashOf(plain);
    blobs.push(sealedBlob(offset, sealed.length, compressed === null ? 0 : plain.length, id));
    parts.push(sealed);
    offset += sealed.length;
  }
  return { bytes: Buffer.concat(parts), blobs, plains };
}

function sealedBlob(offset: number, length: number, plainLength: number, id: string): SealedBlob {
  const hasId = (digests: Uint8Array, at: number): boolean => Buffer.from(digests.subarray(at, at + 32)).toString('hex') === id;
  return { offset, length, plainLength, id, hasId };
}

function unpack({ bytes, blobs }: Pick<Stretch, 'bytes' | 'blobs'>): (Buffer | string)[] {
  const unpacker = createStretchUnpacker(keys);
  unpacker.window(bytes.length).set(bytes);
  const results: (Buffer | string)[] = [];
  unpacker.unpackAll(blobs, start, (nth, plain) => {
    expect(nth).toBe(results.length);
    results.push(typeof plain === 'string' ? plain : Buffer.from(plain));
  });
  expect(results).toHaveLength(blobs.length);
  return results;
}

/** The same, blob by blob. */
function unpackSingly({ bytes, blobs }: Pick<Stretch, 'bytes' | 'blobs'>): (Buffer | string)[] {
  const unpacker = createBlobUnpacker(keys);
  return blobs.map(({ offset, length, plainLength, id }) => {
    unpacker.window(bytes.length).set(bytes);
    try {
      return Buffer.from(unpacker.unpack(offset - start, length, plainLength, id));
    } catch (error) {
      return error instanceof Error ? error.message : '';
    }
  });
}

const words = (length: number, seed: number): Uint8Array =>
  Buffer.from(`line ${seed} of some text\n`.repeat(Math.ceil(length / 24))).subarray(0, length);

describe('the blobs of a stretch', () => {
  it('come out as one by one, whatever their lengths', () => {
    const plains = [0, 1, 15, 16, 55, 56, 63, 64, 65, 1000, 70_000].flatMap((length, nth) => [noise(length, nth), words(length, nth)]);
    const many = Array.from({ length: 2500 }, (_, nth) => words(nth % 300, nth));
    const stretch = stretchOf([...plains, ...many]);
    const results = unpack(stretch);
    expect(results).toEqual(unpackSingly(stretch));
    expect(results).toEqual(stretch.plains.map((plain) => Buffer.from(plain)));
  });

  it('come out when they are as long as chunks get, or longer', () => {
    const stretch = stretchOf([
      noise(3_000_000, 1),
      words(8 * 1024 * 1024, 2),
      noise(8 * 1024 * 1024, 3),
      words(12_000_000, 4),
      words(5, 5),
    ]);
    expect(unpack(stretch).map((plain) => hashOf(Buffer.from(plain)))).toEqual(stretch.blobs.map(({ id }) => id));
  });

  it('are told of when they are damaged, and the others come out', () => {
    const stretch = stretchOf(Array.from({ length: 7 }, (_, nth) => (nth % 2 === 0 ? noise(500, nth) : words(500, nth))));
    const { bytes, blobs } = stretch;
    const [, second, third, fourth, fifth, sixth] = blobs;
    if (!second || !third || !fourth || !fifth || !sixth) throw new Error('there are seven');
    const at = second.offset - start + 20;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    blobs[2] = sealedBlob(third.offset, third.length, 0, second.id);
    blobs[3] = sealedBlob(fourth.offset, fourth.length, fourth.plainLength - 1, fourth.id);
    blobs[4] = sealedBlob(fifth.offset, 20, 0, fifth.id);
    blobs[5] = sealedBlob(sixth.offset, sixth.length, sixth.plainLength + 1, sixth.id);
    const results = unpack(stretch);
    expect(results).toEqual(unpackSingly(stretch));
    expect(results.filter((result) => typeof result === 'string')).toHaveLength(5);
  });

  it('that lie in one another do not spoil each other before they are read', () => {
    const stretch = stretchOf([noise(500, 1), noise(500, 2)]);
    const [first] = stretch.blobs;
    if (!first) throw new Error('there are two');
    stretch.blobs.splice(1, 0, sealedBlob(first.offset + 10, 100, 0, first.id));
    expect(unpack(stretch)).toEqual(unpackSingly(stretch));
  });
});
