import { createBlobOpener, type BlobOpener } from '@holdfast/restic-format/blob-opener';
import type { MasterKeys } from '@holdfast/restic-format/cipher';
import { createDecompressor } from '@holdfast/restic-format/decompressor';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';

/**
 * Opens, decompresses and hashes blobs one after the other in memory that is kept: what a thread, or a reader of many small blobs,
 * works with. The caller reads sealed bytes into the window and unpacks them there.
 */
export interface BlobUnpacker {
  /** Memory of at least `sizeBytes`. What an earlier call gave may be gone after it. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** What lies sealed in the window: valid until the window is written to. Errors: repository_damaged. */
  open(at: number, sealedBytes: number): Uint8Array<ArrayBuffer>;
  /**
   * The plaintext of the blob in the window, checked against its hash. Valid until the next call. `plainLength` is 0 for a blob
   * that is not compressed. Errors: repository_damaged.
   */
  unpack(at: number, sealedBytes: number, plainLength: number, id: ObjectId): Uint8Array;
  close(): void;
}

/** Reads are of this size, unless a blob is longer: it stays in the processor's cache from the read to the hash. */
export const segmentBytes = 1024 * 1024;

export function createBlobUnpacker(keys: MasterKeys): BlobUnpacker {
  let opener: BlobOpener = createBlobOpener(keys, segmentBytes);
  const decompressor = createDecompressor();
  return {
    window(sizeBytes) {
      if (sizeBytes > opener.window.length) opener = createBlobOpener(keys, Math.max(sizeBytes, opener.window.length * 2));
      return opener.window;
    },
    open: (at, sealedBytes) => opener.open(at, sealedBytes),
    unpack(at, sealedBytes, plainLength, id) {
      const opened = opener.open(at, sealedBytes);
      const plain = plainLength === 0 ? opened : decompressor.decompress(opened, plainLength);
      if (hashOf(plain) !== id) throw new HoldfastError('repository_damaged', `blob ${id} does not have the content of its id`);
      return plain;
    },
    close: () => decompressor.close(),
  };
}
