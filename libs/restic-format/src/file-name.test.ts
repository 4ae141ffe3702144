import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { bytesOfName, compareNames, nameOfBytes } from './file-name.ts';

// Bytes that often are UTF-8, or almost.
const piece = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 4 }).map((text) => [...Buffer.from(text)]),
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
  fc.constantFrom([0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x98], [0xc0, 0xaf], [0xf4, 0x90, 0x80, 0x80], [0xef, 0xbf, 0xbd], [0xef, 0xbb, 0xbf]),
);
const anyBytes = fc.array(piece, { maxLength: 6 }).map((pieces) => Uint8Array.from(pieces.flat()));

describe('file names', () => {
  test('bytes come back from their string, whatever they are', () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        expect(Buffer.compare(bytesOfName(nameOfBytes(bytes)), bytes)).toBe(0);
      }),
      { numRuns: 1000 },
    );
  });

  test('UTF-8 reads as itself, other bytes as lone surrogates', () => {
    expect(nameOfBytes(Buffer.from('grün 😀'))).toBe('grün 😀');
    expect(nameOfBytes(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\udcffb');
    expect(nameOfBytes(Uint8Array.of(0xed, 0xb2, 0x80))).toBe('\udced\udcb2\udc80');
  });

  test('a surrogate that stands for no byte becomes U+FFFD', () => {
    expect([...bytesOfName('\ud800')]).toEqual([0xef, 0xbf, 0xbd]);
  });

  test('names sort by their bytes', () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, (a, b) => {
        expect(Math.sign(compareNames(nameOfBytes(a), nameOfBytes(b)))).toBe(Buffer.compare(a, b));
      }),
      { numRuns: 1000 },
    );
    // UTF-16 would sort these two the other way round.
    expect(compareNames('\uff5e', '😀')).toBeLessThan(0);
    expect(compareNames('a', 'a.txt')).toBeLessThan(0);
    expect(compareNames('same', 'same')).toBe(0);
  });
});
