import { createCipheriv } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createCounterMode } from './counter-mode.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const key = repeatableBytes(1)(32);

test('works in place in the Node that this workspace pins', () => {
  expect(createCounterMode(key).isInPlace).toBe(true);
  expect(createCounterMode(key, { usePublicCall: true }).isInPlace).toBe(false);
});

describe.each([
  ['in place', {}],
  ['by public calls', { usePublicCall: true }],
])('counter mode %s', (_name, options) => {
  const mode = createCounterMode(key, options);

  test('is AES-256-CTR, whatever the IV and the length, and touches nothing else', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.uint8Array({ maxLength: 3000 }),
        fc.nat({ max: 20 }),
        (iv, plain, at) => {
          const memory = new Uint8Array(plain.length + 40).fill(0xaa);
          memory.set(plain, at);
          const ivBefore = iv.slice();
          mode.apply(iv, memory.subarray(at, at + plain.length));
          const expected = new Uint8Array(plain.length + 40).fill(0xaa);
          expected.set(createCipheriv('aes-256-ctr', key, iv).update(plain), at);
          expect(Buffer.compare(memory, expected)).toBe(0);
          expect(iv).toEqual(ivBefore);
        },
      ),
    );
  });

  test.each([32_767, 32_768, 32_769, 3_000_001])('of %i bytes', (length) => {
    const plain = repeatableBytes(2)(length);
    const iv = Buffer.alloc(16, 0xff);
    const memory = Uint8Array.from(plain);
    mode.apply(iv, memory);
    expect(Buffer.compare(memory, createCipheriv('aes-256-ctr', key, iv).update(plain))).toBe(0);
    mode.apply(iv, memory);
    expect(Buffer.compare(memory, plain)).toBe(0);
  });

  test('takes the IV out of the memory it works in', () => {
    const memory = Uint8Array.from(repeatableBytes(3)(1000));
    const [iv, plain] = [memory.slice(0, 16), memory.slice(16)];
    mode.apply(memory.subarray(0, 16), memory.subarray(16));
    expect(Buffer.compare(memory.subarray(16), createCipheriv('aes-256-ctr', key, iv).update(plain))).toBe(0);
  });
});

test('refuses a key or an IV of another length', () => {
  expect(() => createCounterMode(key.subarray(1))).toThrow('32 bytes');
  expect(() => createCounterMode(key).apply(new Uint8Array(15), new Uint8Array(1))).toThrow('16 bytes');
});
