import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobLocation } from './blob-index.ts';

/** A stretch of a pack that is read in one go, and what is wanted of it, by offset. */
export interface PackRange {
  readonly packId: ObjectId;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly blobs: readonly BlobLocation[];
}

/** Bounds the memory of a read. A single blob may be longer. */
const maxRangeBytes = 8 * 1024 * 1024;
/** Reading on over a gap is cheaper than asking again. */
const maxGapBytes = 128 * 1024;

/** The stretches that hold the blobs, pack by pack. */
export function packRanges(blobs: Iterable<BlobLocation>): PackRange[] {
  const ranges: PackRange[] = [];
  for (const [packId, ofPack] of Map.groupBy(blobs, (blob) => blob.packId)) {
    let group: BlobLocation[] = [];
    let start = 0;
    let end = 0;
    const close = (): void => {
      if (group.length > 0) ranges.push({ packId, offsetBytes: start, lengthBytes: end - start, blobs: group });
    };
    for (const blob of ofPack.toSorted((a, b) => a.offset - b.offset)) {
      const blobEnd = blob.offset + blob.length;
      if (group.length > 0 && blob.offset - end <= maxGapBytes && blobEnd - start <= maxRangeBytes) {
        group.push(blob);
      } else {
        close();
        group = [blob];
        start = blob.offset;
      }
      end = Math.max(blobEnd, group.length === 1 ? 0 : end);
    }
    close();
  }
  return ranges;
}
