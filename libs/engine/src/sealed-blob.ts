import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Cipher } from '@holdfast/restic-format/cipher';
import { compressBlob, decompressBlob, type CompressionMode } from '@holdfast/restic-format/compression';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { PackedBlob } from '@holdfast/restic-format/pack';

/** A blob as it goes into a pack. */
export interface SealedBlob {
  readonly bytes: Uint8Array;
  /** Present when it was compressed. */
  readonly uncompressedLength?: number;
}

/** Trees always shrink, so they are compressed even where data is not. */
export function treeCompression(mode: CompressionMode): Exclude<CompressionMode, 'off'> {
  return mode === 'off' ? 'auto' : mode;
}

/**
 * Compresses and seals, then opens again and hashes: a fault of memory, processor or library must show now, while the data is
 * still there to be read again, not at a restore. Errors: internal when it does.
 */
export function sealBlob(cipher: Cipher, id: ObjectId, plain: Uint8Array, mode: CompressionMode): SealedBlob {
  const compressed = compressBlob(plain, mode);
  const bytes = cipher.seal(compressed ?? plain);
  const sealed = compressed === null ? { bytes } : { bytes, uncompressedLength: plain.length };
  try {
    openBlob(cipher, bytes, { id, ...sealed });
  } catch (error) {
    throw new HoldfastError('internal', `blob ${id} does not read back as it was written; suspect the memory of this machine`, {
      cause: error,
    });
  }
  return sealed;
}

/** The plaintext of a sealed blob. Errors: repository_damaged when its seal, its compression or its hash is wrong. */
export function openBlob(cipher: Cipher, sealed: Uint8Array, blob: Pick<PackedBlob, 'id' | 'uncompressedLength'>): Uint8Array {
  const opened = cipher.open(sealed);
  const plain = blob.uncompressedLength === undefined ? opened : decompressBlob(opened, blob.uncompressedLength);
  if (hashOf(plain) !== blob.id) throw new HoldfastError('repository_damaged', `blob ${blob.id} does not have the content of its id`);
  return plain;
}

/** The length of a blob's plaintext. */
export function plainLengthOf(blob: Pick<PackedBlob, 'length' | 'uncompressedLength'>, overheadBytes: number): number {
  return blob.uncompressedLength ?? blob.length - overheadBytes;
}
