import { hash } from 'node:crypto';
import { createCipher, generateMasterKeys } from '@holdfast/restic-format/cipher';
import { compressAt } from '@holdfast/restic-format/compression';
import { hashOf } from '@holdfast/restic-format/object-id';
import type { PackedBlob } from '@holdfast/restic-format/pack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PackedEntries } from './packed-entries.ts';
import { createSegmentUnpacker, maxSegmentBytes } from './segment-unpacker.ts';
import { noise } from './testing/test-repository.ts';

const keys = generateMasterKeys();
const cipher = createCipher(keys);
const unpacker = createSegmentUnpacker(keys);

interface Piece {
  readonly plain: Uint8Array;
  readonly isCompressed: boolean;
}

/** The pieces as a pack has them, without its header. */
function packOf(pieces: readonly Piece[]): { bytes: Buffer; blobs: PackedBlob[] } {
  const parts: Uint8Array[] = [];
  const blobs: PackedBlob[] = [];
  let offset = 0;
  for (const { plain, isCompressed } of pieces) {
    const sealed = cipher.seal(isCompressed ? compressAt(plain, 1) : plain);
    const uncompressed = isCompressed ? { uncompressedLength: plain.length } : {};
    blobs.push({ id: hashOf(plain), type: 'data', offset, length: sealed.length, ...uncompressed });
    parts.push(sealed);
    offset += sealed.length;
  }
  return { bytes: Buffer.concat(parts), blobs };
}

/** What comes of a pack that is handed over in segments of so many blobs: a hash or a reason for each. */
function unpack(bytes: Uint8Array, blobs: readonly PackedBlob[], blobsPerSegment: number) {
  const entries = PackedEntries.of(blobs);
  const outcomes: { nth: number; result: string }[] = [];
  unpacker.beginPack();
  for (let from = 0; from < blobs.length; from += blobsPerSegment) {
    const behind = Math.min(blobs.length, from + blobsPerSegment);
    const start = blobs[from]?.offset ?? 0;
    const end = behind === blobs.length ? bytes.length : (blobs[behind]?.offset ?? 0);
    unpacker.window(end - start).set(bytes.subarray(start, end));
    unpacker.add({ start, sizeBytes: end - start, blobs: entries, from, behind }, (nth, plain, reason) => {
      outcomes.push({ nth, result: plain === undefined ? reason : hash('sha256', plain) });
    });
  }
  return { outcomes, packId: Buffer.from(unpacker.packDigest()).toString('hex') };
}

const piece = fc
  .record({ size: fc.oneof(fc.nat(100), fc.nat(20_000), fc.nat(300_000)), seed: fc.nat(), kind: fc.nat(2) })
  .map(({ size, seed, kind }): Piece => ({
    plain: kind === 0 ? noise(size, seed) : new Uint8Array(size + 1).fill(seed),
    isCompressed: kind !== 0,
  }));

describe('a segment unpacker', () => {
  it('unpacks and hashes any blobs, and the pack, however it is cut into segments', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 1, max: 31 }), (pieces, blobsPerSegment) => {
        const { bytes, blobs } = packOf(pieces);
        const { outcomes, packId } = unpack(bytes, blobs, blobsPerSegment);
        expect(outcomes).toEqual(blobs.map(({ id }, nth) => ({ nth, result: id })));
        expect(packId).toBe(hashOf(bytes));
      }),
    );
  });

  it('finds a flipped bit in one blob, and the others whole', () => {
    const pieces = [0, 1, 50, 3000, 90_000].flatMap((size) => [
      { plain: noise(size, size), isCompressed: false },
      { plain: new Uint8Array(size + 1).fill(7), isCompressed: true },
    ]);
    const { bytes, blobs } = packOf(pieces);
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        const broken = blobs.findLastIndex(({ offset }) => offset <= bit >>> 3);
        const { outcomes, packId } = unpack(changed, blobs, 4);
        const expected = blobs.map(({ id }, nth) => ({ nth, result: nth === broken ? 'sealed bytes do not match their MAC' : id }));
        expect(outcomes).toEqual(expected);
        expect(packId).toBe(hashOf(changed));
      }),
    );
  });

  it('says what is wrong with each, in their order', () => {
    const pieces = [1, 2, 3, 4, 5, 6].map((seed) => ({ plain: new Uint8Array(1000).fill(seed), isCompressed: seed > 1 }));
    const { bytes, blobs } = packOf(pieces);
    const changes: Partial<PackedBlob>[] = [
      { id: '0'.repeat(64) },
      { uncompressedLength: 999 },
      {},
      { uncompressedLength: 1001 },
      { uncompressedLength: maxSegmentBytes + 1 },
      { length: 31 },
    ];
    const wrong = blobs.map((blob, nth) => ({ ...blob, ...changes[nth] }));
    for (const blobsPerSegment of [1, 6]) {
      const { outcomes, packId } = unpack(bytes, wrong, blobsPerSegment);
      expect(outcomes).toEqual([
        { nth: 0, result: `blob ${'0'.repeat(64)} does not have the content of its id` },
        { nth: 1, result: 'a compressed blob does not hold 999 bytes as its entry says' },
        { nth: 2, result: blobs[2]?.id },
        { nth: 3, result: 'a compressed blob does not hold 1001 bytes as its entry says' },
        { nth: 4, result: `a compressed blob holds 1000 bytes, not ${maxSegmentBytes + 1} as its entry says` },
        { nth: 5, result: 'sealed bytes are too short: 31' },
      ]);
      expect(packId).toBe(hashOf(bytes));
    }
  });

  it('unpacks what is longer than any chunk, between others', () => {
    const [small, huge] = [
      { plain: noise(500, 1), isCompressed: false },
      { plain: new Uint8Array(maxSegmentBytes + 5), isCompressed: true },
    ];
    const { bytes, blobs } = packOf([small, huge, huge, small, huge]);
    const { outcomes, packId } = unpack(bytes, blobs, 5);
    expect(outcomes).toEqual(blobs.map(({ id }, nth) => ({ nth, result: id })));
    expect(packId).toBe(hashOf(bytes));
  });

  it('forgets a pack that was given up', () => {
    const { bytes, blobs } = packOf([{ plain: noise(5000, 9), isCompressed: false }]);
    unpacker.beginPack();
    const entries = PackedEntries.of(blobs);
    unpacker.window(bytes.length).set(bytes);
    const give = (): void => {
      throw new Error('given up');
    };
    expect(() => unpacker.add({ start: 0, sizeBytes: bytes.length, blobs: entries, from: 0, behind: 1 }, give)).toThrow('given up');
    expect(unpack(bytes, blobs, 1)).toEqual({ outcomes: [{ nth: 0, result: blobs[0]?.id }], packId: hashOf(bytes) });
  });
});
