import fc from 'fast-check';
import { expect, test } from 'vitest';
import { emptyCrc32c, formatCrc32c, joinCrc32c } from './crc32c.ts';

test.each([
  ['', emptyCrc32c, '00000000'],
  ['123456789', 0xe306_9283, '839206e3'],
  // RFC 3720, appendix B.4.
  ['\0'.repeat(32), 0x8a91_36aa, 'aa36918a'],
  [String.fromCodePoint(...Array.from({ length: 32 }, (_, nth) => nth)), 0x46dd_794e, '4e79dd46'],
])('vector %j', (text, crc, hex) => {
  expect(slowCrc32c(Buffer.from(text, 'latin1'))).toBe(crc);
  expect(formatCrc32c(crc)).toBe(hex);
});

test('the sum of two parts is that of both together', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (first, second) => {
      const joined = joinCrc32c(slowCrc32c(first), slowCrc32c(second), second.length);
      expect(joined).toBe(slowCrc32c(Buffer.concat([first, second])));
    }),
  );
});

test('lengths beyond 32 bits count too', () => {
  // A gibibyte of zeros, eight times, in one go and one after the other.
  const gibibyte = 2 ** 30;
  let zeros = slowCrc32c(Buffer.alloc(1));
  for (let bytes = 1; bytes < gibibyte; bytes *= 2) zeros = joinCrc32c(zeros, zeros, bytes);
  const start = slowCrc32c(Buffer.from('start'));
  let step = start;
  for (let nth = 0; nth < 8; nth++) step = joinCrc32c(step, zeros, gibibyte);
  let eight = zeros;
  for (let bytes = gibibyte; bytes < 8 * gibibyte; bytes *= 2) eight = joinCrc32c(eight, eight, bytes);
  expect(joinCrc32c(start, eight, 8 * gibibyte)).toBe(step);
});

/** Bit by bit, as it is defined. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f6_3b78;
  }
  return ~crc >>> 0;
}
