import type { Cipher } from './cipher.ts';
import type { ObjectId } from './object-id.ts';

export type BlobType = 'data' | 'tree';

export interface PackedBlob {
  readonly id: ObjectId;
  readonly type: BlobType;
  /** Where the sealed blob begins in its pack, and how long it is there. */
  readonly offset: number;
  readonly length: number;
  /** Present when the blob is compressed: the length of its plaintext. */
  readonly uncompressedLength?: number;
}

/** Read this many bytes of a pack's end first: enough for the header of most packs. */
export const packTailBytes = 4096;

/** Plaintext header. */
export declare function encodePackHeader(blobs: readonly PackedBlob[]): Uint8Array;
export declare function decodePackHeader(header: Uint8Array): PackedBlob[];
/** What ends a pack: sealed header ‖ its length. */
export declare function sealPackTail(blobs: readonly PackedBlob[], cipher: Cipher): Uint8Array;
/** How many bytes of the pack's end hold its header, from its last bytes (at least 4). */
export declare function packTailLength(tail: Uint8Array, packSizeBytes: number): number;
/** The blobs of a pack, from its last bytes (at least packTailLength of them). */
export declare function openPackTail(tail: Uint8Array, packSizeBytes: number, cipher: Cipher): PackedBlob[];
