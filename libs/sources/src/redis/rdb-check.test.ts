import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc64, crc64Bytes, crc64Start } from './crc64.ts';
import { RdbCheck } from './rdb-check.ts';

const withSum = (body: Buffer): Buffer => Buffer.concat([body, crc64Bytes(crc64(crc64Start, body))]);
const whole = withSum(Buffer.concat([Buffer.from('REDIS0011'), Buffer.from('\xfa\x03key\x05value', 'latin1'), Buffer.of(0xff)]));

function check(bytes: Buffer, cuts: readonly number[] = []) {
  const rdb = new RdbCheck('default@cache:6379');
  const borders = [0, ...[...cuts].toSorted((a, b) => a - b), bytes.length];
  for (let i = 1; i < borders.length; i++) {
    // The giver uses its memory again.
    const piece = Buffer.from(bytes.subarray(borders[i - 1], borders[i]));
    rdb.update(piece);
    piece.fill(0);
  }
  return rdb.end();
}

describe('an RDB file that goes by', () => {
  test('is whole, however it is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length), { maxLength: 12 }), (cuts) => {
        expect(check(whole, cuts)).toEqual({ version: 11, bytes: whole.length, checksum: 'verified' });
      }),
    );
  });

  test('without a sum is taken, and said to be', () => {
    const plain = Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8)]);
    expect(check(plain)).toMatchObject({ checksum: 'absent' });
  });

  test('of Valkey 9 has another magic', () => {
    expect(check(withSum(Buffer.concat([Buffer.from('VALKEY080'), Buffer.of(0xff)])))).toMatchObject({ version: 80 });
  });

  test('any byte less, or another one, is seen', () => {
    for (let length = 0; length < whole.length; length++) {
      expect(() => check(whole.subarray(0, length)), `${length} bytes`).toThrow('is not whole');
    }
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x20;
      expect(() => check(damaged), `byte ${at}`).toThrow('is not whole');
    }
  });
});
