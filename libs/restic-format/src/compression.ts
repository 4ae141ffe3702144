import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { HoldfastError } from '@holdfast/errors/holdfast-error';

import { compressBound, createKeptCompressor, createKeptDecompressor, type KeptZstd } from './kept-zstd.ts';

/**
 * Blobs and unpacked files are single zstd frames. The modes are restic's words for levels; a pack header or an index says per
 * blob whether it is compressed, so modes can be mixed in one repository.
 */
export type CompressionMode = 'off' | 'fastest' | 'auto' | 'better' | 'max';

export const compressionLevels: Readonly<Record<Exclude<CompressionMode, 'off'>, number>> = { fastest: 1, auto: 3, better: 7, max: 11 };

/** A frame and its header take about this much, so nothing shorter shrinks. */
export const minCompressibleBytes = 24;

/**
 * The longest plaintext that is taken from a repository. Data blobs end at 8 MiB; this leaves a tree room for some two million
 * names and keeps a forged length from taking all memory.
 */
export const maxPlainBytes = 1024 ** 3;

/** A zlib call takes output in chunks of this size at most; one chunk for what is smaller. */
const maxOutputChunkBytes = 16 * 1024 * 1024;

/** Up to here the contexts are kept: making one costs more than it does. */
const maxKeptBytes = 256 * 1024;
const keptCompressors = new Map<number, KeptZstd>();
let keptDecompressor: KeptZstd | undefined;
/** Results go here first. Only ever used between two pauses. */
let scratch: Uint8Array<ArrayBuffer> | undefined;

/** The zstd frame of `bytes` at a level from 1 to 22, which the caller owns. */
export function compressAt(bytes: Uint8Array, level: number): Uint8Array {
  if (bytes.length <= maxKeptBytes) {
    const kept = keptCompressors.get(level) ?? createKeptCompressor(level);
    keptCompressors.set(level, kept);
    const frame = keptResult(kept, bytes, compressBound(maxKeptBytes));
    if (frame !== null) return frame;
  }
  return zstdCompressSync(bytes, {
    chunkSize: outputChunkBytes(bytes.length),
    pledgedSrcSize: bytes.length,
    params: { [constants.ZSTD_c_compressionLevel]: level },
  });
}

/** What a kept context makes of `bytes` when that takes less than `maxBytes`; null otherwise. */
function keptResult(kept: KeptZstd, bytes: Uint8Array, maxBytes: number): Uint8Array | null {
  scratch ??= new Uint8Array(compressBound(maxKeptBytes));
  const length = kept.run(bytes, 0, bytes.length, scratch, 0, Math.min(maxBytes, scratch.length));
  return length === -1 ? null : scratch.slice(0, length);
}

/** The zstd frame of `bytes`; null when the mode is off or the frame would not be smaller: then the bytes are stored as they are. */
export function compressBlob(bytes: Uint8Array, mode: CompressionMode): Uint8Array | null {
  if (mode === 'off' || bytes.length < minCompressibleBytes) return null;
  const compressed = compressAt(bytes, compressionLevels[mode]);
  return compressed.length < bytes.length ? compressed : null;
}

/**
 * The plaintext of a compressed blob, which has to have exactly `plainLength` bytes; decompression stops as soon as there are more.
 * Errors: repository_damaged.
 */
export function decompressBlob(bytes: Uint8Array, plainLength: number): Uint8Array {
  const plain = decompressUpTo(bytes, plainLength);
  if (plain.length !== plainLength) {
    throw new HoldfastError('repository_damaged', `a compressed blob holds ${plain.length} bytes, not ${plainLength} as its entry says`);
  }
  return plain;
}

/**
 * The plaintext of a zstd frame, at most `limitBytes` of it; `expectedBytes` is a guess that only saves memory.
 * Errors: repository_damaged when there is more, or when it is no zstd frame.
 */
export function decompressUpTo(bytes: Uint8Array, limitBytes: number, expectedBytes: number = limitBytes): Uint8Array {
  if (limitBytes > maxPlainBytes) throw new HoldfastError('repository_damaged', `a compressed object claims ${limitBytes} bytes`);
  if (expectedBytes < maxKeptBytes) {
    // With room for one byte more than there may be: a context that has filled all of it may hold back more.
    const plain = keptResult((keptDecompressor ??= createKeptDecompressor()), bytes, limitBytes + 1);
    if (plain !== null) return plain;
  }
  try {
    return zstdDecompressSync(bytes, { chunkSize: outputChunkBytes(expectedBytes), maxOutputLength: Math.max(limitBytes, 1) });
  } catch (error) {
    throw new HoldfastError('repository_damaged', `compressed bytes are no zstd frame of at most ${limitBytes} bytes`, { cause: error });
  }
}

// A little more than the output, since zlib asks for another chunk when one is exactly full; 64 is the least it takes.
const outputChunkBytes = (sizeBytes: number): number => Math.min(sizeBytes + 64, maxOutputChunkBytes);
