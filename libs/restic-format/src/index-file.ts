import type { Cipher } from './cipher.ts';
import type { ObjectId } from './object-id.ts';
import type { PackedBlob } from './pack.ts';

export interface IndexedPack {
  readonly id: ObjectId;
  readonly blobs: readonly PackedBlob[];
}

export interface IndexFile {
  readonly packs: readonly IndexedPack[];
  /** Index files that this one replaced. Written by old versions of restic only; read, never written. */
  readonly supersedes?: readonly ObjectId[];
}

export declare function encodeIndexFile(index: IndexFile, cipher: Cipher): Uint8Array;
export declare function decodeIndexFile(bytes: Uint8Array, cipher: Cipher): IndexFile;
/** Groups of packs, in order, each small enough for one index file. */
export declare function splitIndex(packs: readonly IndexedPack[]): IndexedPack[][];
