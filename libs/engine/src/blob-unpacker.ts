import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { openArena } from '@holdfast/restic-format/arena';
import { createArenaCipher } from '@holdfast/restic-format/arena-cipher';
import type { MasterKeys } from '@holdfast/restic-format/cipher';
import { decompressBlob } from '@holdfast/restic-format/compression';
import { createKeptDecompressor } from '@holdfast/restic-format/kept-zstd';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';

/**
 * Opens, decompresses and hashes blobs one after the other in memory that is kept: what a thread, or a reader of many small blobs,
 * works with. The caller reads sealed bytes into the window and unpacks them there.
 */
export interface BlobUnpacker {
  /** Memory of at least `sizeBytes`. What an earlier call gave may be gone after it. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /**
   * The plaintext of the blob in the window, checked against its hash; it replaces the sealed bytes and is valid until the next
   * call. `plainLength` is 0 for a blob that is not compressed. Errors: repository_damaged.
   */
  unpack(at: number, sealedBytes: number, plainLength: number, id: ObjectId): Uint8Array;
}

/** Reads are of this size, unless a blob is longer: room for several chunks, and little more than the processor's cache. */
export const segmentBytes = 2 * 1024 * 1024;

const ivBytes = 16;
/** One byte more than the plaintext may have: a frame that holds more shows by filling it. */
const spareBytes = 1;
/**
 * Memory for the longest chunk there is, sealed or plain: what is longer is a tree of a huge folder, and rare. Made at once, since
 * memory that is not written to takes no room, while what is outgrown takes it until it is collected.
 */
const keptBytes = 9 * 1024 * 1024;

export function createBlobUnpacker(keys: MasterKeys): BlobUnpacker {
  let workplace = openWorkplace(keys, keptBytes);
  const decompressor = createKeptDecompressor();
  const output = new Uint8Array(keptBytes + spareBytes);

  const decompress = (bytes: Uint8Array, plainLength: number): Uint8Array => {
    if (plainLength > keptBytes) return decompressBlob(bytes, plainLength);
    const length = decompressor.run(bytes, 0, bytes.length, output, 0, plainLength + spareBytes);
    if (length !== plainLength) {
      throw new HoldfastError('repository_damaged', `a compressed blob does not hold ${plainLength} bytes as its entry says`);
    }
    return output.subarray(0, plainLength);
  };

  return {
    window(sizeBytes) {
      if (sizeBytes > workplace.window.length) workplace = openWorkplace(keys, sizeBytes);
      return workplace.window;
    },
    unpack(at, sealedBytes, plainLength, id) {
      const { cipher, window, firstAddress } = workplace;
      const length = cipher.open(firstAddress + at, sealedBytes);
      const opened = window.subarray(at + ivBytes, at + ivBytes + length);
      const plain = plainLength === 0 ? opened : decompress(opened, plainLength);
      if (hashOf(plain) !== id) throw new HoldfastError('repository_damaged', `blob ${id} does not have the content of its id`);
      return plain;
    },
  };
}

function openWorkplace(keys: MasterKeys, windowBytes: number) {
  const arena = openArena(windowBytes);
  const { memory, firstAddress } = arena;
  return { cipher: createArenaCipher(arena, keys), window: memory.subarray(firstAddress, firstAddress + windowBytes), firstAddress };
}
