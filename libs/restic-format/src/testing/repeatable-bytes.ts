import { createCipheriv } from 'node:crypto';

import type { RandomBytes } from '../random-bytes.ts';

/** A source of bytes that look random and are the same for the same seed: the key stream of AES-CTR under it. */
export function repeatableBytes(seed: number): RandomBytes {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(seed);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  return (sizeBytes) => stream.update(Buffer.alloc(sizeBytes));
}
