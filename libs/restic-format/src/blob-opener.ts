import { createCipheriv } from 'node:crypto';

import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { overheadBytes, type MasterKeys } from './cipher.ts';
import { instantiateKernels, macKeyAddress, macPadAddress, macPieceBytes, windowAddress } from './kernels/kernels.ts';

/**
 * Opens sealed bytes where they lie. The caller reads a pack into `window`, which is the kernels' own memory, so that nothing is
 * copied on the way to the MAC and the plaintext takes the place of the ciphertext. One belongs to one thread.
 */
export interface BlobOpener {
  readonly window: Uint8Array<ArrayBuffer>;
  /**
   * Opens `sealedBytes` bytes of the window from `at` on. The plaintext lies in the window, behind its IV, until the caller
   * writes there. The MAC is checked before anything is decrypted; when it does not match, the window is as it was.
   * Errors: repository_damaged, as Cipher.open.
   */
  open(at: number, sealedBytes: number): Uint8Array<ArrayBuffer>;
}

const ivBytes = 16;
const blockBytes = 16;

/**
 * Up to here the key stream is made with one AES context that is kept: making a context for counter mode costs as much as
 * decrypting some 4 KiB. Above, counter mode itself is faster.
 */
const maxKeptContextBytes = 16 * 1024;

/** An opener with a window of `windowBytes`. Errors: internal for keys of the wrong length. */
export function createBlobOpener(keys: MasterKeys, windowBytes: number): BlobOpener {
  invariant(keys.encrypt.length === 32 && keys.macK.length === 16 && keys.macR.length === 16, 'master keys have the wrong length');
  const key = Buffer.from(keys.encrypt);
  // Single blocks, no chaining: ECB is AES itself.
  const padCipher = createCipheriv('aes-128-ecb', keys.macK, null).setAutoPadding(false);
  const blockCipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  const { kernels, memory } = instantiateKernels(maxKeptContextBytes + windowBytes);
  memory.set(keys.macR, macKeyAddress);
  kernels.macSetKey();
  const streamAddress = windowAddress;
  const base = windowAddress + maxKeptContextBytes;
  const window = memory.subarray(base, base + windowBytes);

  const decryptShort = (iv: number, sizeBytes: number): void => {
    const blockCount = Math.ceil(sizeBytes / blockBytes);
    kernels.counterBlocks(iv, streamAddress, blockCount);
    memory.set(blockCipher.update(memory.subarray(streamAddress, streamAddress + blockCount * blockBytes)), streamAddress);
    kernels.xorStream(iv + ivBytes, streamAddress, sizeBytes);
  };
  const decryptLong = (iv: number, sizeBytes: number): void => {
    const stream = createCipheriv('aes-256-ctr', key, memory.subarray(iv, iv + ivBytes));
    const end = iv + ivBytes + sizeBytes;
    // Piece by piece: the outputs stay in the processor's cache, and are small enough for the allocator to use them again.
    for (let at = iv + ivBytes; at < end; at += macPieceBytes) {
      memory.set(stream.update(memory.subarray(at, Math.min(at + macPieceBytes, end))), at);
    }
  };

  return {
    window,
    open(at, sealedBytes) {
      invariant(at >= 0 && at + sealedBytes <= windowBytes, 'sealed bytes lie outside of the window');
      if (sealedBytes < overheadBytes) throw new HoldfastError('repository_damaged', `sealed bytes are too short: ${sealedBytes}`);
      const iv = base + at;
      const sizeBytes = sealedBytes - overheadBytes;
      memory.set(padCipher.update(memory.subarray(iv, iv + ivBytes)), macPadAddress);
      if (kernels.macMatches(iv + ivBytes, sizeBytes) === 0) {
        throw new HoldfastError('repository_damaged', 'sealed bytes do not match their MAC');
      }
      if (sizeBytes <= maxKeptContextBytes) decryptShort(iv, sizeBytes);
      else decryptLong(iv, sizeBytes);
      return window.subarray(at + ivBytes, at + ivBytes + sizeBytes);
    },
  };
}
