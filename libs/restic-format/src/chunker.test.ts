import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createChunker, isIrreducible, maxChunkBytes, minChunkBytes, randomPolynomial } from './chunker.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const polynomial = 0x3d_a335_8b4d_c173n;
const chunker = createChunker(polynomial);

/** All chunk lengths of `bytes`, from one buffer. */
function cutWhole(bytes: Uint8Array): number[] {
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = chunker.cut(bytes, at, bytes.length, true);
    lengths.push(length);
    at += length;
  }
  return lengths;
}

/** The same from a buffer that is filled by `stepBytes`, and with something else around the data. */
function cutInSteps(bytes: Uint8Array, stepBytes: number): number[] {
  const lengths: number[] = [];
  const buffer = Buffer.alloc(maxChunkBytes + 100, 0xaa);
  let [read, start] = [0, 0];
  while (start < bytes.length) {
    const isLast = read === bytes.length;
    const length = chunker.cut(buffer, 100, 100 + read - start, isLast);
    if (length > 0) {
      lengths.push(length);
      buffer.copyWithin(100, 100 + length, 100 + read - start);
      start += length;
    } else {
      expect(isLast).toBe(false);
      const next = Math.min(read + stepBytes, start + maxChunkBytes, bytes.length);
      buffer.set(bytes.subarray(read, next), 100 + read - start);
      read = next;
    }
  }
  return lengths;
}

/** The cutting rule word by word: the remainder of the last 64 bytes, kept up to date byte by byte in big integers. */
function referenceCut(bytes: Uint8Array, limit: number): number {
  const reduce = (value: bigint): bigint => {
    let rest = value;
    for (let bit = 63n; bit >= 53n; bit--) if ((rest >> bit) & 1n) rest ^= polynomial << (bit - 53n);
    return rest;
  };
  const leaving = Array.from({ length: 256 }, (_, byte) => {
    let rest = BigInt(byte);
    for (let i = 0; i < 63; i++) rest = reduce(rest << 8n);
    return rest;
  });
  let digest = 0n;
  for (let at = minChunkBytes - 128; at < limit; at++) {
    if (at >= minChunkBytes - 64) digest ^= leaving[bytes[at - 64] ?? 0] ?? 0n;
    digest = reduce((digest << 8n) | BigInt(bytes[at] ?? 0));
    if (at + 1 >= minChunkBytes && (digest & 0xfffffn) === 0n) return at + 1;
  }
  return limit;
}

describe('chunker', () => {
  test('cuts where the plain loop cuts', () => {
    // Seeds whose first cut comes early enough for a slow loop.
    const early = [11, 12, 13, 14, 15, 16].filter((seed) => {
      const bytes = repeatableBytes(seed)(2 * 1024 * 1024);
      const length = chunker.cut(bytes, 0, bytes.length, true);
      if (length > 900_000) return false;
      expect(length).toBe(referenceCut(bytes, bytes.length));
      return true;
    });
    expect(early.length).toBeGreaterThan(0);
  });

  test('cuts at the least length when the fingerprint is zero there, at the largest when it never is', () => {
    const zeros = Buffer.alloc(3 * minChunkBytes + 5);
    expect(cutWhole(zeros)).toEqual([minChunkBytes, minChunkBytes, minChunkBytes, 5]);
    const ones = Buffer.alloc(2 * maxChunkBytes + 5, 1);
    expect(cutWhole(ones)).toEqual([maxChunkBytes, maxChunkBytes, 5]);
  });

  test('asks for more data below the least length, and takes what is left at the end', () => {
    const bytes = Buffer.alloc(minChunkBytes - 1);
    expect(chunker.cut(bytes, 0, bytes.length, false)).toBe(0);
    expect(chunker.cut(bytes, 0, bytes.length, true)).toBe(bytes.length);
    expect(chunker.cut(bytes, 0, 0, false)).toBe(0);
    expect(chunker.cut(bytes, 0, 0, true)).toBe(0);
  });

  test('chunks concatenate to the input and are the same however the buffer is filled', () => {
    const random = repeatableBytes(20);
    const part = fc.record({ sizeBytes: fc.nat({ max: 3_000_000 }), isRandom: fc.boolean(), byte: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), fc.integer({ min: 50_000, max: 9_000_000 }), (parts, step) => {
        const bytes = Buffer.concat(parts.map((p) => (p.isRandom ? random(p.sizeBytes) : Buffer.alloc(p.sizeBytes, p.byte))));
        const lengths = cutWhole(bytes);
        expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(bytes.length);
        expect(lengths.slice(0, -1).every((length) => length >= minChunkBytes && length <= maxChunkBytes)).toBe(true);
        expect(cutInSteps(bytes, Math.min(step, maxChunkBytes))).toEqual(lengths);
      }),
      { numRuns: 15, endOnFailure: true },
    );
  });

  test('finds its cuts again behind inserted bytes', () => {
    const bytes = repeatableBytes(21)(12_000_000);
    const ends = (lengths: number[], shift: number): Set<number> => {
      let end = -shift;
      return new Set(lengths.map((length) => (end += length)));
    };
    const before = ends(cutWhole(bytes), 0);
    const after = ends(cutWhole(Buffer.concat([Buffer.from('inserted'), bytes])), 8);
    expect(before.intersection(after).size).toBeGreaterThan(before.size / 2);
  });

  test('refuses a polynomial of another degree, or a product', () => {
    expect(() => createChunker(0b111n)).toThrow('irreducible');
    expect(() => createChunker(polynomial ^ 1n)).toThrow('irreducible');
  });
});

describe('polynomials', () => {
  test('as many are irreducible of each degree as there are', () => {
    const counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((degree) => {
      const candidates = Array.from({ length: 2 ** degree }, (_, low) => BigInt(2 ** degree + low));
      return candidates.filter(isIrreducible).length;
    });
    expect(counts).toEqual([2, 1, 2, 3, 6, 9, 18, 30, 56, 99]);
  });

  test('constants are not irreducible', () => {
    expect([-1n, 0n, 1n].some(isIrreducible)).toBe(false);
  });

  test('a product of two polynomials of high degree is found out', () => {
    const multiply = (a: bigint, b: bigint): bigint => {
      let product = 0n;
      for (let bit = 0n; bit < 64n; bit++) if ((b >> bit) & 1n) product ^= a << bit;
      return product;
    };
    const [p26, p27] = [[26, 1n << 26n] as const, [27, 1n << 27n] as const].map(([, top]) => {
      let candidate = top | 1n;
      while (!isIrreducible(candidate)) candidate += 2n;
      return candidate;
    });
    expect(isIrreducible(multiply(p26 ?? 0n, p27 ?? 0n))).toBe(false);
  });

  test('random ones are irreducible, of degree 53, and differ', () => {
    const random = repeatableBytes(22);
    const drawn = Array.from({ length: 5 }, () => randomPolynomial(random));
    expect(drawn.every((p) => isIrreducible(p) && p.toString(2).length === 54)).toBe(true);
    expect(new Set(drawn).size).toBe(5);
  });

  test('a random source that is stuck is an error, not an endless loop', () => {
    expect(() => randomPolynomial((sizeBytes) => Buffer.alloc(sizeBytes))).toThrow('random source');
  });
});
