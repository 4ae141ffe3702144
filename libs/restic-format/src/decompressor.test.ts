import { zstdCompressSync } from 'node:zlib';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createDecompressor } from './decompressor.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const isDamaged = (error: unknown): boolean => isHoldfastError(error, 'repository_damaged');

test('the context is kept by the Node that this workspace pins', () => {
  expect(createDecompressor().keepsContext).toBe(true);
  expect(createDecompressor({ usePublicCall: true }).keepsContext).toBe(false);
});

describe.each([
  ['with the kept context', {}],
  ['with the public call', { usePublicCall: true }],
])('decompressor %s', (_name, options) => {
  const decompressor = createDecompressor(options);
  const open = (bytes: Uint8Array, plainLength: number): Buffer => Buffer.from(decompressor.decompress(bytes, plainLength));

  test('gives back any bytes, of any frame that zstd makes of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat({ max: 3000 }), fc.constantFrom(1, 3, 19), (bytes, repeat, level) => {
        const plain = Buffer.alloc(bytes.length + repeat, Buffer.from(bytes.length === 0 ? [7] : bytes));
        // 100 is ZSTD_c_compressionLevel.
        expect(open(zstdCompressSync(plain, { params: { 100: level } }), plain.length).equals(plain)).toBe(true);
      }),
    );
  });

  test('gives back large and empty ones', () => {
    for (const length of [0, 1, 1_048_575, 1_048_576, 8_388_608, 9_437_184, 9_437_185, 12_000_000]) {
      const plain = Buffer.alloc(length, repeatableBytes(1)(1000));
      expect(open(zstdCompressSync(plain), length).equals(plain), `length ${length}`).toBe(true);
    }
  });

  test('refuses what is cut, longer, shorter or no frame, and goes on with the next', () => {
    const plain = repeatableBytes(2)(50_000).fill(7, 100, 20_000);
    const frame = zstdCompressSync(plain);
    const broken: [Uint8Array, number][] = [
      [frame.subarray(0, -1), plain.length],
      [frame.subarray(1), plain.length],
      [frame, plain.length - 1],
      [frame, plain.length + 1],
      [frame, 0],
      [Buffer.concat([frame, frame]), plain.length],
      [new Uint8Array(0), 5],
      [frame, 2 ** 31],
      [repeatableBytes(3)(100), 100],
    ];
    for (const [bytes, length] of broken) {
      expect(() => open(bytes, length)).toThrow(expect.toSatisfy(isDamaged));
      expect(open(frame, plain.length).equals(plain)).toBe(true);
    }
  });

  test('survives any flipped bit: the plaintext, another one of the same length, or repository_damaged', () => {
    const plain = Buffer.from('a text that repeats itself, a text that repeats itself '.repeat(20));
    const frame = zstdCompressSync(plain);
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const changed = Buffer.from(frame);
      changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        expect(open(changed, plain.length).length).toBe(plain.length);
      } catch (error) {
        expect(error).toSatisfy(isDamaged);
      }
    }
    expect(open(frame, plain.length).equals(plain)).toBe(true);
  });
});
