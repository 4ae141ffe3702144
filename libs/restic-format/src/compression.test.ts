import { zstdCompressSync } from 'node:zlib';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { compressBlob, decompressBlob, decompressUpTo, maxPlainBytes } from './compression.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const text = Buffer.from('the same words again and again, '.repeat(500));
const damaged = expect.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));

describe('compression', () => {
  test.each(['fastest', 'auto', 'better', 'max'] as const)('%s shrinks text and gives it back', (mode) => {
    const compressed = compressBlob(text, mode);
    expect(compressed?.length).toBeLessThan(text.length / 10);
    expect(Buffer.compare(decompressBlob(compressed ?? text, text.length), text)).toBe(0);
  });

  test('what does not shrink, is short, or is to be left alone gives null', () => {
    expect(compressBlob(repeatableBytes(1)(100_000), 'max')).toBeNull();
    expect(compressBlob(Buffer.from('aaaa'), 'max')).toBeNull();
    expect(compressBlob(new Uint8Array(0), 'auto')).toBeNull();
    expect(compressBlob(text, 'off')).toBeNull();
  });

  test('blobs larger than one output chunk come back', () => {
    const large = Buffer.concat([Buffer.alloc(40_000_000, 7), repeatableBytes(2)(1000)]);
    expect(Buffer.compare(decompressBlob(compressBlob(large, 'fastest') ?? large, large.length), large)).toBe(0);
  });

  test('a wrong length is damage, both ways, and costs no more memory than that length', () => {
    const bomb = zstdCompressSync(Buffer.alloc(256 * 1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decompressBlob(bomb, 1000)).toThrow(damaged);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
    expect(() => decompressBlob(zstdCompressSync(text), text.length + 1)).toThrow(damaged);
    expect(() => decompressBlob(zstdCompressSync(text), text.length - 1)).toThrow(damaged);
    expect(() => decompressBlob(zstdCompressSync(text), 0)).toThrow(damaged);
    expect(() => decompressBlob(bomb, maxPlainBytes + 1)).toThrow(damaged);
  });

  test('bytes that are no frame, or part of one, are damage', () => {
    const frame = zstdCompressSync(text);
    for (const bytes of [new Uint8Array(0), Buffer.from('no frame'), frame.subarray(0, -1), frame.subarray(1)]) {
      expect(() => decompressBlob(bytes, text.length)).toThrow(damaged);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          expect(decompressUpTo(bytes, 10_000).length).toBeLessThanOrEqual(10_000);
        } catch (error) {
          expect(error).toEqual(damaged);
        }
      }),
    );
  });
});
