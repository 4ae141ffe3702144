import type { MasterKeys } from '@holdfast/restic-format/cipher';
import type { Sha256Stream } from '@holdfast/restic-format/sha256-lanes';
import { BatchUnpacker, longestChunkBytes, type OnUnpacked, type Stretch } from './batch-unpacker.ts';

/**
 * Unpacks the blobs of a pack, and hashes the pack itself, segment by segment: all hashes of a segment are made side by side, those of its
 * blobs and that of its own bytes, which therefore stay sealed.
 */
export class SegmentUnpacker {
  readonly #batches: BatchUnpacker;
  #packStream: Sha256Stream;

  constructor(keys: MasterKeys) {
    this.#batches = new BatchUnpacker(keys, { windowBytes: maxSegmentBytes, keepsSealed: true });
    this.#packStream = this.#batches.lanes.openStream();
  }

  /** Before a pack's first segment. What was begun with another one, and given up, is forgotten. */
  beginPack(): void {
    this.#packStream = this.#batches.lanes.openStream();
  }

  /** Where the bytes of the next segment are to be put. `sizeBytes` is at most maxSegmentBytes. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer> {
    return this.#batches.window.subarray(0, sizeBytes);
  }

  /** Takes the `sizeBytes` in the window. */
  add(segment: Segment, onUnpacked: OnUnpacked): void {
    this.#packStream.add(this.#batches.windowAddress, segment.sizeBytes);
    this.#batches.unpack(segment, onUnpacked);
  }

  /** The hash of all segments of the pack: 32 bytes. */
  packDigest(): Uint8Array {
    return this.#packStream.digest();
  }
}

export interface Segment extends Stretch {
  readonly sizeBytes: number;
}

export const maxSegmentBytes = longestChunkBytes;
