import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createArenaChunker, createArenaCipher, openArena } from './arena.ts';
import { createChunker, randomPolynomial } from './chunker.ts';
import { createCipher, generateMasterKeys } from './cipher.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const sizes = [0, 1, 15, 16, 17, 1000, 16_383, 16_384, 16_385, 32_768, 100_000, 3_000_001];
const keys = generateMasterKeys();

describe.each([false, true])('an arena (by public calls: %s)', (usePublicCall) => {
  it('seals what a cipher opens, and opens what a cipher seals', () => {
    const arena = openArena(4_000_000);
    const [cipher, inPlace] = [createCipher(keys), createArenaCipher(arena, keys, { usePublicCall })];
    const at = arena.firstAddress + 5;
    for (const size of sizes) {
      const plain = repeatableBytes(size)(size);
      arena.memory.set(plain, at + 16);
      const sealedBytes = inPlace.seal(at, size);
      expect(Buffer.compare(cipher.open(arena.memory.subarray(at, at + sealedBytes)), plain)).toBe(0);
      const sealed = cipher.seal(plain);
      arena.memory.set(sealed, at);
      expect(inPlace.open(at, sealed.length)).toBe(size);
      expect(Buffer.compare(arena.memory.subarray(at + 16, at + 16 + size), plain)).toBe(0);
    }
  });

  it('never seals under the same IV twice', () => {
    const arena = openArena(1000);
    const cipher = createArenaCipher(arena, keys, { usePublicCall });
    const seen = new Set<string>();
    for (let nth = 0; nth < 1000; nth++) {
      cipher.seal(arena.firstAddress, 1);
      seen.add(Buffer.from(arena.memory.subarray(arena.firstAddress, arena.firstAddress + 16)).toString('hex'));
    }
    expect(seen.size).toBe(1000);
  });

  it('finds a flipped bit, wherever it is', () => {
    const arena = openArena(1000);
    const cipher = createArenaCipher(arena, keys, { usePublicCall });
    const at = arena.firstAddress;
    const sealedBytes = cipher.seal(at, 100);
    const sealed = arena.memory.slice(at, at + sealedBytes);
    fc.assert(
      fc.property(fc.nat(sealedBytes * 8 - 1), (bit) => {
        arena.memory.set(sealed, at);
        arena.memory[at + (bit >>> 3)] = (arena.memory[at + (bit >>> 3)] ?? 0) ^ (1 << (bit & 7));
        expect(() => cipher.open(at, sealedBytes)).toThrow('MAC');
      }),
    );
    expect(() => cipher.open(at, 31)).toThrow(expect.toSatisfy((error: unknown) => isHoldfastError(error, 'repository_damaged')));
  });

  it('cuts where a chunker cuts', () => {
    const polynomial = randomPolynomial(repeatableBytes(7));
    const bytes = repeatableBytes(3)(12_000_000);
    const arena = openArena(bytes.length);
    arena.memory.set(bytes, arena.firstAddress);
    const [chunker, inPlace] = [createChunker(polynomial), createArenaChunker(arena, polynomial)];
    const cuts: number[] = [];
    for (let start = 0; start < bytes.length; start += cuts.at(-1) ?? 0) {
      const length = chunker.cut(bytes, start, bytes.length, true);
      expect(inPlace.cut(arena.firstAddress + start, arena.firstAddress + bytes.length, true)).toBe(length);
      cuts.push(length);
    }
    expect(cuts.length).toBeGreaterThan(3);
    expect(inPlace.cut(arena.firstAddress, arena.firstAddress + 600_000, false)).toBe(chunker.cut(bytes, 0, 600_000, false));
    expect(inPlace.cut(arena.firstAddress, arena.firstAddress, true)).toBe(0);
  });
});
