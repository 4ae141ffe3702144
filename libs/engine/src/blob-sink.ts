import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';

/** Where blobs go: hashed, and if the repository does not have them compressed, sealed and packed. */
export interface BlobSink {
  /** The bytes are the caller's again when it returns. Durable only after `finish`. Throws what an upload in between failed with. */
  save(type: BlobType, plain: Uint8Array): Promise<SavedBlob>;
  /** Takes a sealed blob over as it is (from another pack), be it known or not. The bytes must not change any more. */
  saveSealed(type: BlobType, blob: { id: ObjectId; bytes: Uint8Array; uncompressedLength?: number }): Promise<void>;
  /** When it returns, all blobs are in durable packs and all packs in durable index files. */
  finish(): Promise<void>;
  /** Waits for the uploads that run, whatever becomes of them: after a failure, before the storage is closed. */
  settle(): Promise<void>;
  readonly counts: BlobCounts;
}

export interface SavedBlob {
  readonly id: ObjectId;
  readonly isNew: boolean;
}

/** Blobs that were new, their plaintext bytes, their bytes as stored; and the bytes of whole packs that are durable. */
export interface BlobCounts {
  dataBlobs: number;
  treeBlobs: number;
  addedBytes: number;
  addedPackedBytes: number;
  packBytes: number;
}
