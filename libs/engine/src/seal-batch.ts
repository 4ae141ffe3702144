import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { openArena, sealBatchCount } from '@holdfast/restic-format/arena';
import { createArenaCipher } from '@holdfast/restic-format/arena-cipher';
import { overheadBytes, type MasterKeys } from '@holdfast/restic-format/cipher';
import { compressionLevels, minCompressibleBytes, type CompressionMode } from '@holdfast/restic-format/compression';
import { compressBound, createKeptCompressor, createKeptDecompressor, type KeptZstd } from '@holdfast/restic-format/kept-zstd';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import type { BlobToPack } from './open-pack.ts';

/**
 * Small blobs that are compressed one by one, and sealed, opened again and hashed many at a time, in memory that is kept: for each by
 * itself contexts and buffers cost as much as the work. What comes out is what sealBlob makes.
 */
export interface SealBatch {
  /** Whether a blob of that length can be added now; an empty batch takes up to maxBatchedBytes. */
  hasRoomFor(plainBytes: number): boolean;
  /** Compresses the blob behind the others and returns the length that it will have, sealed. The bytes are the caller's again. */
  add(type: BlobType, id: ObjectId, plain: Uint8Array, mode: CompressionMode): number;
  /** Seals all that was added and empties the batch. Errors: internal when one does not read back as it was written. */
  take(): BlobToPack[];
}

export const maxBatchedBytes = 64 * 1024;
/** Small enough for what was compressed to be in the processor's cache when it is sealed. */
const regionBytes = 256 * 1024;
/** What is opened lies as far behind what is sealed. */
const openedShift = regionBytes;
/** One byte more than the plaintext may have: a frame that holds more shows by filling it. */
const spareBytes = 1;
const ivBytes = 16;

interface Waiting {
  readonly type: BlobType;
  readonly id: ObjectId;
  readonly at: number;
  readonly length: number;
  /** Present when it is compressed. */
  readonly uncompressedLength?: number;
}

export function createSealBatch(keys: MasterKeys): SealBatch {
  const arena = openArena(regionBytes * 2);
  const { memory, firstAddress } = arena;
  const cipher = createArenaCipher(arena, keys);
  const compressors = new Map<CompressionMode, KeptZstd>();
  const decompressor = createKeptDecompressor();
  const output = new Uint8Array(maxBatchedBytes + spareBytes);
  const pieces = new Uint32Array(sealBatchCount * 2);
  const results = new Uint8Array(sealBatchCount);
  let waiting: Waiting[] = [];
  let end = firstAddress;

  const compressorOf = (mode: Exclude<CompressionMode, 'off'>): KeptZstd => {
    const known = compressors.get(mode) ?? createKeptCompressor(compressionLevels[mode]);
    compressors.set(mode, known);
    return known;
  };
  /** The length of the frame, or of the bytes as they are when a frame would not be smaller. */
  const putBody = (plain: Uint8Array, mode: CompressionMode): number => {
    const body = end + ivBytes;
    const isCompressible = mode !== 'off' && plain.length >= minCompressibleBytes;
    const packed = isCompressible ? compressorOf(mode).run(plain, 0, plain.length, memory, body, compressBound(plain.length)) : -1;
    if (packed >= 0 && packed < plain.length) return packed;
    memory.set(plain, body);
    return plain.length;
  };
  const setPieces = (extraBytes: number): void => {
    waiting.forEach(({ at, length }, nth) => {
      pieces[nth * 2] = at;
      pieces[nth * 2 + 1] = length - overheadBytes + extraBytes;
    });
  };
  const readsBack = ({ at, length, id, uncompressedLength }: Waiting): boolean => {
    const [body, bodyBytes] = [at + ivBytes + openedShift, length - overheadBytes];
    if (uncompressedLength === undefined) return hashOf(memory.subarray(body, body + bodyBytes)) === id;
    const plainBytes = decompressor.run(memory, body, bodyBytes, output, 0, uncompressedLength + spareBytes);
    return plainBytes === uncompressedLength && hashOf(output.subarray(0, plainBytes)) === id;
  };

  return {
    hasRoomFor: (plainBytes) =>
      waiting.length < sealBatchCount && end + overheadBytes + compressBound(plainBytes) <= firstAddress + regionBytes,

    add(type, id, plain, mode) {
      invariant(this.hasRoomFor(plain.length), 'a batch of blobs is full');
      const bodyBytes = putBody(plain, mode);
      const length = bodyBytes + overheadBytes;
      waiting.push({ type, id, at: end, length, ...(bodyBytes < plain.length && { uncompressedLength: plain.length }) });
      end += length;
      return length;
    },

    take() {
      setPieces(0);
      cipher.sealMany(pieces, waiting.length);
      const sealed = memory.slice(firstAddress, end);
      setPieces(overheadBytes);
      cipher.openMany(pieces, waiting.length, results, openedShift);
      const blobs = waiting.map((blob, nth): BlobToPack => {
        const { at, length, ...named } = blob;
        if (results[nth] !== 1 || !readsBack(blob)) {
          throw new HoldfastError('internal', `blob ${blob.id} does not read back as it was written; suspect the memory of this machine`);
        }
        return { ...named, bytes: sealed.subarray(at - firstAddress, at - firstAddress + length) };
      });
      waiting = [];
      end = firstAddress;
      return blobs;
    },
  };
}
