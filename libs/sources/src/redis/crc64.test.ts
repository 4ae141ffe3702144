import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc64, crc64Bytes, crc64Start } from './crc64.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(crc64Bytes(crc64(crc64Start, bytes)).toReversed()).toString('hex');

test('is the sum that Redis makes', () => {
  expect(hex(Buffer.from('123456789'))).toBe('e9c6d914c4b8d9ca');
  const text =
    'This is a test of the emergency broadcast system. Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor';
  expect(hex(Buffer.from(text))).toBe(bitwise(Buffer.from(text)));
});

test('pieces make the sum of the whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
      const sum = crc64(crc64(crc64Start, bytes.subarray(0, cut)), bytes.subarray(cut));
      expect(sum).toEqual(crc64(crc64Start, bytes));
      expect(hex(bytes)).toBe(bitwise(bytes));
    }),
  );
});

/** A bit at a time, as the definition says. */
function bitwise(bytes: Uint8Array): string {
  let sum = 0n;
  for (const byte of bytes) {
    sum ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1n) === 1n ? (sum >> 1n) ^ 0x95ac9329ac4bc9b5n : sum >> 1n;
  }
  return sum.toString(16).padStart(16, '0');
}
