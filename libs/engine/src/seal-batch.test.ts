import { createCipher, generateMasterKeys, overheadBytes } from '@holdfast/restic-format/cipher';
import { hashOf } from '@holdfast/restic-format/object-id';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import type { BlobToPack } from './open-pack.ts';
import { createSealBatch, maxBatchedBytes } from './seal-batch.ts';
import { openBlob, sealBlob } from './sealed-blob.ts';

const keys = generateMasterKeys();
const cipher = createCipher(keys);
const batch = createSealBatch(keys);

/** Bytes that do not compress. */
function noise(sizeBytes: number, seed: string): Buffer {
  return createHash('shake256', { outputLength: sizeBytes }).update(seed).digest();
}

it('gives what blobs are when each is sealed by itself', () => {
  const blobs = fc.array(
    fc.record({
      type: fc.constantFrom('data', 'tree'),
      mode: fc.constantFrom('off', 'fastest', 'auto', 'max'),
      plain: fc
        .tuple(fc.nat(40_000), fc.boolean())
        .map(([size, isNoise]) => (isNoise ? noise(size, `${size}`) : Buffer.alloc(size, 'words '))),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(blobs, (all) => {
      const taken: BlobToPack[] = [];
      const lengths: number[] = [];
      for (const { type, mode, plain } of all) {
        if (!batch.hasRoomFor(plain.length)) taken.push(...batch.take());
        lengths.push(batch.add(type, hashOf(plain), plain, mode));
      }
      taken.push(...batch.take());
      expect(taken.map(({ bytes }) => bytes.length)).toEqual(lengths);
      for (const [nth, { type, mode, plain }] of all.entries()) {
        const blob = taken[nth];
        const alone = sealBlob(cipher, hashOf(plain), plain, mode);
        expect(blob).toMatchObject({ type, id: hashOf(plain) });
        expect(blob?.uncompressedLength).toBe(alone.uncompressedLength);
        expect(blob?.bytes.length).toBe(alone.bytes.length);
        expect(blob && Buffer.compare(openBlob(cipher, blob.bytes, blob), plain)).toBe(0);
      }
    }),
    { numRuns: 30 },
  );
});

it('takes one of the largest when it is empty, and says when it is full', () => {
  expect(batch.hasRoomFor(maxBatchedBytes)).toBe(true);
  const large = noise(maxBatchedBytes, 'large');
  let count = 0;
  for (; batch.hasRoomFor(large.length); count++)
    expect(batch.add('data', hashOf(large), large, 'auto')).toBe(large.length + overheadBytes);
  expect(count).toBeGreaterThan(1);
  expect(batch.take()).toHaveLength(count);
  const small = Buffer.from('small');
  for (count = 0; batch.hasRoomFor(small.length); count++) batch.add('data', hashOf(small), small, 'off');
  expect(batch.take()).toHaveLength(count);
  expect(batch.take()).toEqual([]);
});

it('finds out when a blob does not read back as it was written', () => {
  const [plain, other] = [Buffer.alloc(5000, 'words '), Buffer.alloc(5000, 'swords ')];
  for (const mode of ['auto', 'off'] as const) {
    const damaged = createSealBatch(keys);
    damaged.add('data', hashOf(plain), plain, mode);
    damaged.add('data', hashOf(plain), other, mode);
    expect(() => damaged.take()).toThrow('does not read back');
  }
});
