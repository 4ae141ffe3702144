import { createCipheriv } from 'node:crypto';

import { invariant } from '@holdfast/errors/invariant';

import { openNativeAes } from './native-aes.ts';

/**
 * AES-256 in counter mode where the bytes lie. node:crypto gives its output in a new buffer each time: a gigabyte that goes through
 * it leaves a gigabyte for the collector, and a context for each blob costs as much as a small blob does. So OpenSSL is called
 * directly, with one context that is kept; where that is not to be had, the public calls do the same work.
 */
export interface CounterMode {
  /** Encrypts, or decrypts, which is the same, to `to`: as many bytes elsewhere, or by default where they lie. `iv` is left as it is. */
  apply(iv: Uint8Array, bytes: Uint8Array, to?: Uint8Array): void;
  /** Whether nothing is allocated. */
  readonly isInPlace: boolean;
}

const keyBytes = 32;
const ivBytes = 16;

/** `options.usePublicCall`: for the test of it. */
export function createCounterMode(key: Uint8Array, options: { usePublicCall?: boolean } = {}): CounterMode {
  invariant(key.length === keyBytes, 'an AES-256 key has 32 bytes');
  return (options.usePublicCall === true ? undefined : nativeCounterMode(key)) ?? publicCounterMode(key);
}

function nativeCounterMode(key: Uint8Array): CounterMode | undefined {
  const aes = openNativeAes('aes-256-ctr', key);
  if (aes === undefined) return undefined;
  return {
    isInPlace: true,
    apply: (iv, bytes, to = bytes) => {
      invariant(iv.length === ivBytes, 'an IV has 16 bytes');
      if (bytes.length === 0) return;
      aes.setIv(iv);
      aes.apply(bytes, to);
    },
  };
}

/** Small enough for the outputs to stay in the processor's cache, and for the allocator to use their memory again. */
const pieceBytes = 32 * 1024;

function publicCounterMode(key: Uint8Array): CounterMode {
  return {
    isInPlace: false,
    apply: (iv, bytes, to = bytes) => {
      const stream = createCipheriv('aes-256-ctr', key, iv);
      for (let at = 0; at < bytes.length; at += pieceBytes) to.set(stream.update(bytes.subarray(at, at + pieceBytes)), at);
    },
  };
}
