import type { Cipher } from '@holdfast/restic-format/cipher';
import type { IndexedPack } from '@holdfast/restic-format/index-file';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { sealPackTail, type BlobType, type PackedBlob } from '@holdfast/restic-format/pack';
import { createHash } from 'node:crypto';

/** About what restic makes, too. */
export const targetPackBytes = 16 * 1024 * 1024;
/** Keeps a header far below restic's limit of 16 MiB, however small the blobs are. */
export const maxPackBlobs = 65_536;

export interface BlobToPack {
  readonly id: ObjectId;
  readonly type: BlobType;
  readonly bytes: Uint8Array;
  readonly uncompressedLength?: number;
}

/** A pack that grows in memory. */
export class OpenPack {
  sizeBytes = 0;
  readonly #parts: Uint8Array[] = [];
  readonly #blobs: PackedBlob[] = [];

  get isFull(): boolean {
    return this.sizeBytes >= targetPackBytes || this.#blobs.length >= maxPackBlobs;
  }

  add({ id, type, bytes, uncompressedLength }: BlobToPack): void {
    const place = { id, type, offset: this.sizeBytes, length: bytes.length };
    this.#blobs.push(uncompressedLength === undefined ? place : { ...place, uncompressedLength });
    this.#parts.push(bytes);
    this.sizeBytes += bytes.length;
  }

  /** True when the blobs of both fit into one pack. */
  canTake(other: OpenPack): boolean {
    return this.sizeBytes + other.sizeBytes < targetPackBytes && this.#blobs.length + other.#blobs.length <= maxPackBlobs;
  }

  takeAll(other: OpenPack): void {
    for (const [nth, blob] of other.#blobs.entries()) this.add({ ...blob, bytes: other.#parts[nth] ?? new Uint8Array() });
  }

  /** The finished pack: its bytes in parts, its name (their hash) and what the index says of it. */
  close(cipher: Cipher): { parts: readonly Uint8Array[]; pack: IndexedPack } {
    const tail = sealPackTail(this.#blobs, cipher);
    this.#parts.push(tail);
    this.sizeBytes += tail.length;
    const hash = createHash('sha256');
    for (const part of this.#parts) hash.update(part);
    return { parts: this.#parts, pack: { id: hash.digest('hex'), blobs: this.#blobs } };
  }
}
