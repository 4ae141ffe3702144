import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { decompressBlob } from '@holdfast/restic-format/compression';
import { packName } from '@holdfast/restic-format/layout';
import { hashOf } from '@holdfast/restic-format/object-id';
import type { BlobLocation } from './blob-index.ts';
import type { BlobSink } from './blob-sink.ts';
import { packRanges } from './pack-ranges.ts';
import type { Repository } from './repository.ts';
import { forEachConcurrently } from './slots.ts';

export interface CopyBlobsOptions {
  readonly from: Repository;
  readonly to: Repository;
  /** Of `to`; finished by the caller. */
  readonly sink: BlobSink;
  readonly signal: AbortSignal;
  /** Sealed bytes of the blob, and of all that are copied. */
  readonly onCopied: (lengthBytes: number, totalBytes: number) => void;
}

/** Reads at once: while one is sealed the next is fetched. */
const concurrentReads = 2;

/**
 * Moves blobs from one repository's packs to another's: opened, checked against their hash and sealed under the other keys; a
 * compressed one is not compressed again. Errors: repository_damaged, those of both storages.
 */
export async function copyBlobs(blobs: Iterable<BlobLocation>, { from, to, sink, signal, onCopied }: CopyBlobsOptions): Promise<void> {
  const ranges = packRanges(blobs);
  const totalBytes = ranges.reduce((sum, range) => sum + range.blobs.reduce((ofRange, blob) => ofRange + blob.length, 0), 0);
  await forEachConcurrently(ranges, concurrentReads, async ({ packId, offsetBytes, lengthBytes, blobs: wanted }) => {
    const bytes = await from.storage.get(packName(packId), { range: { offsetBytes, lengthBytes }, signal });
    for (const blob of wanted) {
      signal.throwIfAborted();
      const start = blob.offset - offsetBytes;
      await copyBlob(bytes.subarray(start, start + blob.length), blob, from, to, sink);
      onCopied(blob.length, totalBytes);
    }
  });
}

async function copyBlob(sealed: Uint8Array, blob: BlobLocation, from: Repository, to: Repository, sink: BlobSink): Promise<void> {
  const { id, type, packId, uncompressedLength } = blob;
  const opened = from.cipher.open(sealed);
  const plain = uncompressedLength === undefined ? opened : decompressBlob(opened, uncompressedLength);
  if (hashOf(plain) !== id)
    throw new HoldfastError('repository_damaged', `blob ${id} in pack ${packId} does not have the content of its id`);
  if (uncompressedLength === undefined) await sink.save(type, plain);
  else await sink.saveSealed(type, { id, bytes: to.cipher.seal(opened), uncompressedLength });
}
