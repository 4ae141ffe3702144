import type { CallOptions, Storage } from './storage.ts';

/**
 * A storage that writes an object under a temporary name first. A connection that ends at the wrong moment leaves that file behind; no
 * reader and no listing sees it, it only takes room.
 */
export interface SweepableStorage {
  /**
   * Removes temporary files that were last written before `olderThan`, by the server's clock, and returns how many. Choose a time before
   * which no put that still runs can have begun: a file that is swept under a put lets it fail.
   * What has been removed when it fails stays removed. Errors: storage_denied, storage_unreachable.
   */
  sweep(olderThan: Date, options?: CallOptions): Promise<number>;
}

/** Whether a storage leaves temporary files behind and can remove them. */
export function isSweepable(storage: Storage): storage is Storage & SweepableStorage {
  return 'sweep' in storage && typeof storage.sweep === 'function';
}
