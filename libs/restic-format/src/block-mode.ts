import { createCipheriv } from 'node:crypto';

import { openNativeAes } from './native-aes.ts';

/**
 * AES of one block after the other, where they lie: what counter mode and MACs are made of. Only counters and nonces ever go through
 * it. Many blocks in one call, since a call costs more than some hundred blocks do.
 */
export interface BlockMode {
  /** Encrypts whole blocks of 16 bytes. */
  apply(blocks: Uint8Array): void;
}

/** The key has 16 or 32 bytes. `options.usePublicCall`: for the test of it. */
export function createBlockMode(key: Uint8Array, options: { usePublicCall?: boolean } = {}): BlockMode {
  const mode = key.length === 16 ? 'aes-128-ecb' : 'aes-256-ecb';
  const aes = options.usePublicCall === true ? undefined : openNativeAes(mode, key);
  if (aes !== undefined) return { apply: (blocks) => aes.apply(blocks, blocks) };
  const cipher = createCipheriv(mode, key, null).setAutoPadding(false);
  return { apply: (blocks) => blocks.set(cipher.update(blocks)) };
}
