import { createHash, hash } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createSha256Lanes, digestBytes } from './sha256-lanes.ts';
import { givesRightHashes, openMultiBlock } from './sha256-multi-block.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const memory = Uint8Array.from(repeatableBytes(1)(9_000_000));

const expectedOf = (starts: readonly (readonly [number, number])[]): string[] =>
  starts.map(([start, size]) => hash('sha256', memory.subarray(start, start + size)));

function hexOf(digests: Uint8Array, count: number): string[] {
  return Array.from({ length: count }, (_, nth) => Buffer.from(digests).toString('hex', nth * digestBytes, (nth + 1) * digestBytes));
}

test.runIf(process.arch === 'x64')('several blocks at once are to be had in the Node that this workspace pins', () => {
  expect(openMultiBlock()).toBeDefined();
});

test.runIf(openMultiBlock() !== undefined)('what gives other hashes is not used', () => {
  const right = openMultiBlock();
  if (right === undefined) throw new Error('it was there before');
  expect(givesRightHashes(right)).toBe(true);
  for (let column = 0; column < 8; column++) {
    const run = (columnsUsed: number): void => {
      right.run(columnsUsed);
      right.states[column] = (right.states[column] ?? 0) ^ 1;
    };
    expect(givesRightHashes({ ...right, run })).toBe(false);
  }
});

describe.each([
  ['in lanes', {}],
  ['by public calls', { usePublicCall: true }],
])('SHA-256 %s', (_name, options) => {
  const lanes = createSha256Lanes(memory, options);

  const hashAll = (starts: readonly (readonly [number, number])[]): string[] => {
    const digests = new Uint8Array(starts.length * digestBytes + 7).fill(0xee);
    lanes.hash(Uint32Array.from(starts.flat()), starts.length, digests);
    expect(digests.subarray(-7)).toEqual(new Uint8Array(7).fill(0xee));
    return hexOf(digests, starts.length);
  };

  test('of every length up to some blocks, at any place', () => {
    const starts = Array.from({ length: 300 }, (_, size) => [size * 7 + 3, size] as const);
    expect(hashAll(starts)).toEqual(expectedOf(starts));
    for (const one of starts) expect(hashAll([one])).toEqual(expectedOf([one]));
  });

  test('of long pieces beside short ones and none', () => {
    const sizes = [8_000_000, 0, 1, 1_000_001, 64, 63, 3_000_000, 999_999, 55, 56, 119, 120, 128, 500_000, 70_000, 65_536, 2, 2_999_000];
    const starts = sizes.map((size, nth) => [nth * 1001, size] as const);
    expect(hashAll(starts)).toEqual(expectedOf(starts));
    expect(hashAll([])).toEqual([]);
  });

  test('of any pieces, also such that overlap', () => {
    const piece = fc.tuple(fc.nat(100_000), fc.oneof(fc.nat(300), fc.nat(10_000), fc.nat(200_000)));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (starts) => {
        expect(hashAll(starts)).toEqual(expectedOf(starts));
      }),
    );
  });

  test('of streams beside pieces, however they are cut', () => {
    const part = fc.oneof(fc.nat(130), fc.nat(5000), fc.nat(200_000));
    const cut = fc.record({ part, other: part, pieces: fc.array(fc.nat(9000), { maxLength: 12 }) });
    const [stream, other] = [lanes.openStream(), lanes.openStream()];
    fc.assert(
      fc.property(fc.array(cut, { maxLength: 12 }), (cuts) => {
        const [reference, otherReference] = [createHash('sha256'), createHash('sha256')];
        let at = 0;
        for (const { part: size, other: otherSize, pieces } of cuts) {
          stream.add(at, size);
          reference.update(memory.subarray(at, at + size));
          other.add(at + 5, otherSize);
          otherReference.update(memory.subarray(at + 5, at + 5 + otherSize));
          const starts = pieces.map((piece) => [piece * 3, piece] as const);
          expect(hashAll(starts)).toEqual(expectedOf(starts));
          at += size;
        }
        expect(Buffer.from(stream.digest()).toString('hex')).toBe(reference.digest('hex'));
        expect(Buffer.from(other.digest()).toString('hex')).toBe(otherReference.digest('hex'));
      }),
    );
  });

  test('of a stream by itself, twice after each other', () => {
    const stream = lanes.openStream();
    for (let round = 0; round < 2; round++) {
      for (let at = 0; at < 1_000_000; at += 99_999) stream.add(at, 99_999);
      expect(Buffer.from(stream.digest()).toString('hex')).toBe(hash('sha256', memory.subarray(0, 99_999 * 11)));
    }
    expect(Buffer.from(stream.digest()).toString('hex')).toBe(hash('sha256', ''));
  });

  test('of more than half a gigabyte, whose bits are not counted in 32 of them', { timeout: 60_000 }, () => {
    const stream = lanes.openStream();
    const reference = createHash('sha256');
    for (let round = 0; round < 61; round++) {
      stream.add(1, memory.length - 1);
      reference.update(memory.subarray(1));
    }
    expect(Buffer.from(stream.digest()).toString('hex')).toBe(reference.digest('hex'));
  });

  test('refuses what is not in the memory, and goes on after that', () => {
    const outside: [number, number][] = [
      [memory.length, 1],
      [0, memory.length + 1],
      [4_294_967_295, 4_294_967_295],
    ];
    for (const piece of outside) {
      expect(() => hashAll([[0, 10], piece])).toThrow('not in the memory');
      expect(() => lanes.openStream().add(...piece)).toThrow('not in the memory');
    }
    expect(() => lanes.hash(Uint32Array.of(0, 1), 2, new Uint8Array(64))).toThrow('other pieces');
    expect(() => lanes.hash(Uint32Array.of(0, 1), 1, new Uint8Array(31))).toThrow('no room');
    expect(hashAll([[0, 10]])).toEqual(expectedOf([[0, 10]]));
  });
});
