import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createCipher, generateMasterKeys, overheadBytes } from './cipher.ts';
import { hashOf } from './object-id.ts';
import {
  decodePackHeader,
  encodePackHeader,
  maxPackBlobCount,
  openPackTail,
  packTailLength,
  packTailSize,
  sealPackTail,
  type PackedBlob,
} from './pack.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const cipher = createCipher(generateMasterKeys(repeatableBytes(1)), repeatableBytes(2));
const damaged = expect.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));

/** Entries with their offsets counted up. */
const inOrder = (entries: readonly Omit<PackedBlob, 'offset'>[]): PackedBlob[] => {
  let offset = 0;
  return entries.map((entry) => {
    const blob = { ...entry, offset };
    offset += entry.length;
    return blob;
  });
};

const entry = fc.record(
  {
    id: fc.uint8Array({ maxLength: 4 }).map(hashOf),
    type: fc.constantFrom('data' as const, 'tree' as const),
    length: fc.integer({ min: overheadBytes, max: 5_000_000 }),
    uncompressedLength: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  },
  { requiredKeys: ['id', 'type', 'length'] },
);
const blobsOf = fc.array(entry, { minLength: 1, maxLength: 20 }).map(inOrder);

/** A whole pack: its blobs are zeros, only their lengths count here. */
function makePack(blobs: readonly PackedBlob[]): Buffer {
  const blobBytes = blobs.reduce((sum, blob) => sum + blob.length, 0);
  return Buffer.concat([Buffer.alloc(blobBytes), sealPackTail(blobs, cipher)]);
}

const small = inOrder([
  { id: hashOf(Buffer.from('a')), type: 'data', length: 40 },
  { id: hashOf(Buffer.from('b')), type: 'tree', length: 50, uncompressedLength: 300 },
]);

describe('pack', () => {
  test('the header has the bytes of the format', () => {
    const [a, b] = small;
    expect(Buffer.from(encodePackHeader(small)).toString('hex')).toBe(`0028000000${a?.id}03320000002c010000${b?.id}`);
  });

  test('the header comes back', () => {
    fc.assert(
      fc.property(blobsOf, (blobs) => {
        expect(decodePackHeader(encodePackHeader(blobs))).toEqual(blobs);
      }),
    );
  });

  test('the blobs are read from any tail that is long enough', () => {
    const pack = makePack(small);
    const tailLength = packTailLength(pack.subarray(-4), pack.length);
    expect(tailLength).toBe(packTailSize(small));
    for (const length of [tailLength, tailLength + 1, pack.length]) {
      expect(openPackTail(pack.subarray(-length), pack.length, cipher)).toEqual(small);
    }
    expect(() => openPackTail(pack.subarray(-tailLength + 1), pack.length, cipher)).toThrow('does not reach');
  });

  test('any flipped bit of the tail, and any wrong size, is found', () => {
    const pack = makePack(small);
    const tail = pack.subarray(-packTailSize(small));
    for (let bit = 0; bit < tail.length * 8; bit++) {
      const changed = Buffer.from(pack);
      const at = pack.length - tail.length + (bit >>> 3);
      changed[at] = (changed[at] ?? 0) ^ (1 << (bit & 7));
      expect(() => openPackTail(changed, pack.length, cipher), `bit ${bit}`).toThrow(damaged);
    }
    expect(() => openPackTail(tail, pack.length + 1, cipher)).toThrow(damaged);
    expect(() => openPackTail(tail, pack.length - 1, cipher)).toThrow(damaged);
    expect(() => packTailLength(pack.subarray(-3), 3)).toThrow(damaged);
    expect(() => packTailLength(Buffer.alloc(4), 1000)).toThrow(damaged);
    expect(() => packTailLength(Buffer.alloc(4, 0xff), 2 ** 33)).toThrow(damaged);
  });

  test('any header is blobs or damage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 4 }), (bytes, type) => {
        const header = Buffer.from([type, ...bytes]);
        try {
          expect(Buffer.compare(encodePackHeader(decodePackHeader(header)), header)).toBe(0);
        } catch (error) {
          expect(error).toEqual(damaged);
        }
      }),
      { numRuns: 500 },
    );
    expect(() => decodePackHeader(Buffer.alloc(37))).toThrow('sealed blob of 0 bytes');
    expect(decodePackHeader(new Uint8Array(0))).toEqual([]);
  });

  test('gaps, no blob and too many blobs are refused', () => {
    expect(() => encodePackHeader(small.slice(1))).toThrow('do not follow');
    expect(() => sealPackTail([], cipher)).toThrow('cannot hold 0 blobs');
    const many = Array.from({ length: maxPackBlobCount + 1 }, () => small[0] as PackedBlob);
    expect(() => sealPackTail(many, cipher)).toThrow('cannot hold');
  });
});
