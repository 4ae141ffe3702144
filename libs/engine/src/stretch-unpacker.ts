import type { MasterKeys } from '@holdfast/restic-format/cipher';
import { BatchUnpacker, longestChunkBytes, type OnUnpacked, type Stretch } from './batch-unpacker.ts';

/** Unpacks any stretches of packs, blobs of any length among them, in the place where they are read to. */
export class StretchUnpacker {
  readonly #keys: MasterKeys;
  #batches: BatchUnpacker;

  constructor(keys: MasterKeys) {
    this.#keys = keys;
    this.#batches = openBatches(keys, longestChunkBytes);
  }

  /** Memory of `sizeBytes`, for the next stretch. What an earlier call gave may be gone after it. */
  window(sizeBytes: number): Uint8Array<ArrayBuffer> {
    if (sizeBytes > this.#batches.window.length) this.#batches = openBatches(this.#keys, sizeBytes);
    return this.#batches.window.subarray(0, sizeBytes);
  }

  /** Unpacks the blobs of what is in the window, once. */
  unpack(stretch: Stretch, onUnpacked: OnUnpacked): void {
    this.#batches.unpack(stretch, onUnpacked);
  }
}

const openBatches = (keys: MasterKeys, windowBytes: number): BatchUnpacker => new BatchUnpacker(keys, { windowBytes, keepsSealed: false });
