import { createCipheriv, createDecipheriv } from 'node:crypto';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createCipher, generateMasterKeys, overheadBytes } from './cipher.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const keys = generateMasterKeys(repeatableBytes(1));
const cipher = createCipher(keys, repeatableBytes(2));

describe('cipher', () => {
  test('opens what it sealed, at every length around blocks and pieces', () => {
    const bytes = repeatableBytes(3)(100_000);
    for (const length of [0, 1, 15, 16, 17, 31, 32, 33, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 100_000]) {
      const plain = bytes.subarray(0, length);
      const sealed = cipher.seal(plain);
      expect(sealed.length).toBe(cipher.sealedSize(length));
      expect(Buffer.compare(cipher.open(sealed), plain), `length ${length}`).toBe(0);
    }
  });

  test('is AES-256 in counter mode between IV and MAC', () => {
    const plain = repeatableBytes(4)(70_001);
    const sealed = cipher.seal(plain);
    const stream = createDecipheriv('aes-256-ctr', keys.encrypt, sealed.subarray(0, 16));
    expect(Buffer.compare(stream.update(sealed.subarray(16, -16)), plain)).toBe(0);
  });

  test('opens a sealed object that was put together by hand', () => {
    // For an empty ciphertext Poly1305 is s alone: the IV under AES with key k.
    const iv = Buffer.alloc(16, 7);
    const mac = createCipheriv('aes-128-ecb', keys.macK, null).update(iv);
    expect(cipher.open(Buffer.concat([iv, mac]))).toHaveLength(0);
  });

  test('never uses an IV twice', () => {
    const ivs = new Set(Array.from({ length: 1000 }, () => Buffer.from(cipher.seal(new Uint8Array(0)).subarray(0, 16)).toString('hex')));
    expect(ivs.size).toBe(1000);
  });

  test('finds every flipped bit', () => {
    const sealed = cipher.seal(repeatableBytes(5)(100));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => cipher.open(changed), `bit ${bit}`).toThrow('do not match their MAC');
    }
  });

  test('finds a flipped bit anywhere in a large object', () => {
    const sealed = cipher.seal(repeatableBytes(6)(150_000));
    fc.assert(
      fc.property(fc.nat({ max: sealed.length * 8 - 1 }), (bit) => {
        const changed = Buffer.from(sealed);
        changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => cipher.open(changed)).toThrow('do not match their MAC');
      }),
    );
  });

  test('refuses what is cut, lengthened, too short or sealed under other keys', () => {
    const sealed = cipher.seal(repeatableBytes(7)(1000));
    const other = createCipher(generateMasterKeys(repeatableBytes(8)));
    const broken = [sealed.subarray(1), sealed.subarray(0, -1), Buffer.concat([sealed, Buffer.of(0)]), other.seal(sealed)];
    broken.push(new Uint8Array(0), sealed.subarray(0, overheadBytes - 1));
    for (const bytes of broken) {
      expect(() => cipher.open(bytes)).toThrow(expect.toSatisfy((error) => isHoldfastError(error, 'repository_damaged')));
    }
  });

  test('leaves its input as it is', () => {
    const plain = repeatableBytes(9)(50_000);
    const before = Buffer.from(plain);
    const sealed = cipher.seal(plain);
    const sealedBefore = Buffer.from(sealed);
    cipher.open(sealed);
    expect(before.equals(plain) && sealedBefore.equals(sealed)).toBe(true);
  });
});
