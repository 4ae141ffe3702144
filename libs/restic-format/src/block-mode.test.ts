import { createCipheriv } from 'node:crypto';

import { describe, expect, test } from 'vitest';

import { createBlockMode } from './block-mode.ts';
import { openNativeAes } from './native-aes.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

test('is to be had in the Node that this workspace pins', () => {
  expect(openNativeAes('aes-256-ecb', repeatableBytes(1)(32))).toBeDefined();
});

describe.each([
  ['in place', {}],
  ['by public calls', { usePublicCall: true }],
])('AES of blocks, %s', (_name, options) => {
  test.each([
    [16, 'aes-128-ecb'],
    [32, 'aes-256-ecb'],
  ])('with a key of %i bytes', (keyBytes, name) => {
    const key = repeatableBytes(1)(keyBytes);
    const mode = createBlockMode(key, options);
    const reference = createCipheriv(name, key, null).setAutoPadding(false);
    for (const size of [0, 16, 32, 4096, 65_536]) {
      const memory = Buffer.concat([Buffer.alloc(3, 1), repeatableBytes(2)(size), Buffer.alloc(3, 2)]);
      mode.apply(memory.subarray(3, 3 + size));
      expect(
        Buffer.compare(memory, Buffer.concat([Buffer.alloc(3, 1), reference.update(repeatableBytes(2)(size)), Buffer.alloc(3, 2)])),
      ).toBe(0);
    }
  });
});
