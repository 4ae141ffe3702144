import { createCipheriv } from 'node:crypto';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createBlobOpener } from './blob-opener.ts';
import { createCipher, generateMasterKeys, overheadBytes } from './cipher.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const keys = generateMasterKeys(repeatableBytes(1));
const cipher = createCipher(keys, repeatableBytes(2));
const opener = createBlobOpener(keys, 256 * 1024);

const isDamaged = (error: unknown): boolean => isHoldfastError(error, 'repository_damaged');

describe('blob opener', () => {
  test('opens what the cipher sealed, at every length around blocks and pieces and at any place', () => {
    const bytes = repeatableBytes(3)(100_000);
    for (const length of [0, 1, 15, 16, 17, 31, 33, 16_383, 16_384, 16_385, 32_768, 32_769, 65_537, 100_000]) {
      for (const at of [0, 1, 77]) {
        const sealed = cipher.seal(bytes.subarray(0, length));
        opener.window.set(sealed, at);
        expect(Buffer.compare(opener.open(at, sealed.length), bytes.subarray(0, length)), `length ${length}`).toBe(0);
      }
    }
  });

  test('leaves what lies before and behind as it was', () => {
    const sealed = cipher.seal(repeatableBytes(4)(5000));
    opener.window.fill(0xaa, 0, 10_000);
    opener.window.set(sealed, 1000);
    opener.open(1000, sealed.length);
    expect(opener.window.subarray(0, 1000).every((byte) => byte === 0xaa)).toBe(true);
    expect(opener.window.subarray(1000 + sealed.length, 10_000).every((byte) => byte === 0xaa)).toBe(true);
  });

  test('counts on over the carry of the counter', () => {
    // An IV of ones but for the last bits: the 128-bit counter wraps within the message.
    const plain = repeatableBytes(5)(100);
    const iv = Buffer.alloc(16, 0xff).fill(0xfe, 15);
    const edges = [iv, Buffer.concat([Buffer.alloc(8), Buffer.alloc(7, 0xff), Buffer.of(0xfe)])];
    for (const edge of edges) {
      const sealed = createCipher(keys, (bytes) => Buffer.alloc(bytes, edge)).seal(plain);
      const ciphertext = createCipheriv('aes-256-ctr', keys.encrypt, edge).update(plain);
      expect(Buffer.compare(sealed.subarray(16, -16), ciphertext)).toBe(0);
      opener.window.set(sealed);
      expect(Buffer.compare(opener.open(0, sealed.length), plain)).toBe(0);
    }
  });

  test('finds every flipped bit, and decrypts nothing then', () => {
    const sealed = cipher.seal(repeatableBytes(6)(100));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      opener.window.set(changed);
      expect(() => opener.open(0, sealed.length), `bit ${bit}`).toThrow('do not match their MAC');
      expect(Buffer.compare(opener.window.subarray(0, sealed.length), changed)).toBe(0);
    }
  });

  test('finds a flipped bit anywhere in a large object', () => {
    const sealed = cipher.seal(repeatableBytes(7)(150_000));
    fc.assert(
      fc.property(fc.nat({ max: sealed.length * 8 - 1 }), (bit) => {
        opener.window.set(sealed);
        opener.window[bit >>> 3] = (sealed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => opener.open(0, sealed.length)).toThrow('do not match their MAC');
      }),
    );
  });

  test('refuses what is too short, under other keys, or outside of the window', () => {
    for (let length = 0; length < overheadBytes; length++) {
      expect(() => opener.open(0, length)).toThrow(expect.toSatisfy(isDamaged));
    }
    const foreign = createCipher(generateMasterKeys(repeatableBytes(8))).seal(new Uint8Array(50));
    opener.window.set(foreign);
    expect(() => opener.open(0, foreign.length)).toThrow(expect.toSatisfy(isDamaged));
    expect(() => opener.open(opener.window.length - 40, 41)).toThrow('outside of the window');
  });
});
