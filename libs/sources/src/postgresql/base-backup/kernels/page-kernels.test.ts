import fc from 'fast-check';
import { expect, test } from 'vitest';
import { instantiatePageKernels, pieceAddress } from './page-kernels.ts';

// What the pages' checksums are is tested by file-check.test.ts.

const { kernels, memory } = instantiatePageKernels(256 * 1024);

test('CRC-32C of any length, in one go and in two', () => {
  // Around the length from which blocks are taken out, around multiples of what is taken out at once, and others.
  const lengths = [0, 1, 7, 8, 13_375, 13_376, 13_377, 16_384 + 3_344, 16_384 + 3_345, 16_384 + 3_408, 50_001, 262_144];
  const bytes = Uint8Array.from({ length: 262_144 }, (_, nth) => Math.imul(nth, 2_654_435_761) >>> 13);
  for (const length of lengths) {
    const piece = bytes.subarray(0, length);
    expect([length, crcOf(piece)]).toEqual([length, slowCrc(piece)]);
  }
  fc.assert(
    fc.property(fc.nat(60_000), fc.nat(60_000), (length, cut) => {
      const piece = bytes.subarray(cut, cut + length);
      const first = update(-1, piece.subarray(0, cut));
      expect(~update(first, piece.subarray(cut)) >>> 0).toBe(crcOf(piece));
    }),
  );
});

test('the piece is left as it was', () => {
  const piece = Uint8Array.from({ length: 100_000 }, (_, nth) => nth * 7);
  memory.set(piece, pieceAddress);
  kernels.crcUpdate(-1, pieceAddress, piece.length);
  expect(Buffer.from(piece).equals(memory.subarray(pieceAddress, pieceAddress + piece.length))).toBe(true);
});

function crcOf(bytes: Uint8Array): number {
  return ~update(-1, bytes) >>> 0;
}

function update(crc: number, bytes: Uint8Array): number {
  memory.set(bytes, pieceAddress);
  return kernels.crcUpdate(crc, pieceAddress, bytes.length);
}

/** Bit by bit, as it is defined. */
function slowCrc(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f6_3b78;
  }
  return ~crc >>> 0;
}
