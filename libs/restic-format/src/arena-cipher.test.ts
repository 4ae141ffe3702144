import { createCipheriv } from 'node:crypto';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createArenaCipher } from './arena-cipher.ts';
import { openArena } from './arena.ts';
import { createCipher, generateMasterKeys, overheadBytes } from './cipher.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const sizes = [0, 1, 15, 16, 17, 1000, 4095, 4096, 4097, 16_383, 16_384, 16_385, 32_768, 100_000, 3_000_001];
const keys = generateMasterKeys();

describe.each([false, true])('a cipher of an arena (by public calls: %s)', (usePublicCall) => {
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

  describe('of many pieces', () => {
    const arena = openArena(12_000_000);
    const cipher = createArenaCipher(arena, keys, { usePublicCall });
    const reference = createCipher(keys);

    /** Places for pieces of these sizes, one behind the other, some bytes between them. */
    function placesOf(sizesInOrder: readonly number[]): Uint32Array {
      const pieces = new Uint32Array(sizesInOrder.length * 2);
      let at = arena.firstAddress + 3;
      sizesInOrder.forEach((size, nth) => {
        pieces.set([at, size], nth * 2);
        at += size + overheadBytes + (nth % 5);
      });
      return pieces;
    }

    const small = Array.from({ length: 201 }, (_, size) => size);
    const manySmall = Array.from({ length: 1300 }, (_, nth) => (nth * 7919) % 3000);

    it.each([
      ['of 0 to 200 bytes', small],
      ['of all sizes', [...sizes, ...small, ...sizes]],
      ['more than fit into one batch', manySmall],
      ['of none', []],
    ])('seals what a cipher opens, and opens what a cipher seals: %s', (_name, wanted) => {
      const plains = wanted.map((size, nth) => repeatableBytes(nth)(size));
      const pieces = placesOf(wanted);
      arena.memory.fill(0xaa, arena.firstAddress, arena.firstAddress + 8_000_000);
      plains.forEach((plain, nth) => arena.memory.set(plain, (pieces[nth * 2] ?? 0) + 16));
      cipher.sealMany(pieces, wanted.length);
      const ivs = new Set<string>();
      plains.forEach((plain, nth) => {
        const at = pieces[nth * 2] ?? 0;
        const end = at + plain.length + overheadBytes;
        const sealed = Buffer.from(arena.memory.subarray(at, end));
        expect(Buffer.compare(reference.open(sealed), plain), `piece ${nth}`).toBe(0);
        ivs.add(sealed.toString('hex', 0, 16));
        // Nothing between the pieces has changed.
        expect(arena.memory.subarray(end, end + (nth % 5))).toEqual(new Uint8Array(nth % 5).fill(0xaa));
      });
      expect(ivs.size).toBe(wanted.length);

      const sealedPieces = pieces.map((value, nth) => (nth % 2 === 0 ? value : value + overheadBytes));
      plains.forEach((plain, nth) => arena.memory.set(reference.seal(plain), pieces[nth * 2] ?? 0));
      const results = new Uint8Array(wanted.length);
      expect(cipher.openMany(sealedPieces, wanted.length, results)).toBe(wanted.length);
      expect(results.every((result) => result === 1)).toBe(true);
      plains.forEach((plain, nth) => {
        const at = (pieces[nth * 2] ?? 0) + 16;
        expect(Buffer.compare(arena.memory.subarray(at, at + plain.length), plain), `piece ${nth}`).toBe(0);
      });
    });

    it('leaves a piece that was changed as it is, whichever bit it was, and opens the others', () => {
      const wanted = [0, 5, 16, 100, 7000, 20_000, 33];
      const pieces = placesOf(wanted).map((value, nth) => (nth % 2 === 0 ? value : value + overheadBytes));
      const sealed = wanted.map((size, nth) => reference.seal(repeatableBytes(nth)(size)));
      const place = fc.nat(wanted.length - 1).chain((nth) => fc.tuple(fc.constant(nth), fc.nat((sealed[nth]?.length ?? 0) * 8 - 1)));
      fc.assert(
        fc.property(place, ([broken, bit]) => {
          sealed.forEach((bytes, nth) => arena.memory.set(bytes, pieces[nth * 2] ?? 0));
          const at = pieces[broken * 2] ?? 0;
          arena.memory[at + (bit >>> 3)] = (arena.memory[at + (bit >>> 3)] ?? 0) ^ (1 << (bit & 7));
          const before = arena.memory.slice(at, at + (pieces[broken * 2 + 1] ?? 0));
          const results = new Uint8Array(wanted.length);
          expect(cipher.openMany(pieces, wanted.length, results)).toBe(wanted.length - 1);
          expect([...results]).toEqual(wanted.map((_, nth) => (nth === broken ? 0 : 1)));
          expect(Buffer.compare(arena.memory.subarray(at, at + before.length), before)).toBe(0);
          wanted.forEach((size, nth) => {
            if (nth === broken) return;
            const start = (pieces[nth * 2] ?? 0) + 16;
            expect(Buffer.compare(arena.memory.subarray(start, start + size), repeatableBytes(nth)(size))).toBe(0);
          });
        }),
      );
    });

    it('says of what is too short that it is not open', () => {
      const at = arena.firstAddress;
      arena.memory.set(reference.seal(new Uint8Array(0)), at);
      const results = new Uint8Array(4).fill(9);
      expect(cipher.openMany(Uint32Array.of(at, 31, at, 0, at, 32), 3, results)).toBe(1);
      expect([...results]).toEqual([0, 0, 1, 9]);
    });

    it('counts beyond 2^32 and 2^64 blocks as AES in counter mode does', () => {
      for (const iv of [
        '00'.repeat(12) + 'fffffffe',
        '00'.repeat(8) + 'ff'.repeat(8),
        'ff'.repeat(16),
        '12'.repeat(8) + 'ff'.repeat(7) + 'fd',
      ]) {
        const fixed = createArenaCipher(arena, keys, { usePublicCall, random: (size) => Buffer.alloc(size, Buffer.from(iv, 'hex')) });
        const wanted = [100, 1000, 6200, 17_000];
        const pieces = placesOf(wanted);
        wanted.forEach((size, nth) => arena.memory.set(repeatableBytes(nth)(size), (pieces[nth * 2] ?? 0) + 16));
        fixed.sealMany(pieces, wanted.length);
        wanted.forEach((size, nth) => {
          const stream = createCipheriv('aes-256-ctr', keys.encrypt, Buffer.from(iv, 'hex'));
          const at = (pieces[nth * 2] ?? 0) + 16;
          expect(Buffer.compare(arena.memory.subarray(at, at + size), stream.update(repeatableBytes(nth)(size)))).toBe(0);
        });
        const results = new Uint8Array(wanted.length);
        const sealedPieces = pieces.map((value, nth) => (nth % 2 === 0 ? value : value + overheadBytes));
        expect(fixed.openMany(sealedPieces, wanted.length, results)).toBe(wanted.length);
      }
    });

    it('refuses what is not in the memory before it does anything', () => {
      const at = arena.firstAddress;
      arena.memory.fill(7, at, at + 200);
      const outside = Uint32Array.of(at, 10, arena.memory.length - 31, 0);
      expect(() => cipher.sealMany(outside, 2)).toThrow('not in the memory');
      expect(arena.memory.subarray(at, at + 200)).toEqual(new Uint8Array(200).fill(7));
      expect(() => cipher.sealMany(outside, 3)).toThrow('other pieces');
      const far = Uint32Array.of(at, 40, 4_294_967_295, 4_294_967_295);
      expect(() => cipher.openMany(far, 2, new Uint8Array(2))).toThrow('not in the memory');
      expect(() => cipher.openMany(far, 1, new Uint8Array(0))).toThrow('no room');
      expect(() => cipher.open(arena.memory.length - 10, 40)).toThrow('not in the memory');
      expect(() => cipher.seal(arena.memory.length - 10, 0)).toThrow('not in the memory');
    });
  });
});
