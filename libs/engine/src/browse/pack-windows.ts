import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { GetOptions, Storage } from '@holdfast/storage/storage';

/** Where something lies in a pack, and where the pack's blobs end. */
export interface PackPlace {
  readonly packId: ObjectId;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly packEndBytes: number;
}

/**
 * Trees lie side by side in their packs, those of neighbouring folders close together: one read brings those that are wanted next. Windows lie
 * end to end and never across each other, so that no byte is fetched twice while it is held.
 */
export const windowBytes = 1024 * 1024;

/** Windows of packs, the last used of them held. */
export class PackWindows {
  readonly #storage: Storage;
  readonly #maxWindows: number;
  /** By pack and number. Least recently used first. */
  readonly #windows = new Map<string, Promise<Uint8Array>>();

  constructor(storage: Storage, maxBytes: number) {
    this.#storage = storage;
    this.#maxWindows = Math.max(1, Math.floor(maxBytes / windowBytes));
  }

  /** The bytes, which are not to be written to. `keep` is 'anew' when those that came before were not whole. Errors: those of the storage. */
  async read(
    place: PackPlace,
    { signal, keep = 'yes' }: { readonly signal: AbortSignal; readonly keep?: 'yes' | 'anew' },
  ): Promise<Uint8Array> {
    const { packId, offsetBytes, lengthBytes } = place;
    const endBytes = offsetBytes + lengthBytes;
    const [first, last] = [Math.floor(offsetBytes / windowBytes), Math.floor((endBytes - 1) / windowBytes)];
    if (keep === 'anew') for (let nth = first; nth <= last; nth++) this.#windows.delete(keyOf(packId, nth));
    const parts: Promise<Uint8Array>[] = [];
    for (let nth = first; nth <= last;) {
      const held = this.#take(keyOf(packId, nth));
      if (held !== undefined) {
        parts.push(held);
        nth++;
        continue;
      }
      // What is missing side by side comes in one read.
      let behind = nth + 1;
      while (behind <= last && !this.#windows.has(keyOf(packId, behind))) behind++;
      parts.push(...this.#fetch(place, nth, behind, { signal, keep }));
      nth = behind;
    }
    const windows = await Promise.all(parts);
    const start = offsetBytes - first * windowBytes;
    if (windows.length === 1) return (windows[0] ?? new Uint8Array(0)).subarray(start, start + lengthBytes);
    return Buffer.concat(windows).subarray(start, start + lengthBytes);
  }

  /** Windows `from` up to `behind`. */
  #fetch(
    { packId, packEndBytes }: PackPlace,
    from: number,
    behind: number,
    options: Pick<GetOptions, 'signal' | 'keep'>,
  ): Promise<Uint8Array>[] {
    const offsetBytes = from * windowBytes;
    const endBytes = Math.min(behind * windowBytes, packEndBytes);
    const range = { offsetBytes, lengthBytes: endBytes - offsetBytes };
    const fetched = this.#storage.get(packName(packId), { ...options, range });
    const windows: Promise<Uint8Array>[] = [];
    for (let nth = from; nth < behind; nth++) {
      const start = (nth - from) * windowBytes;
      // A window by itself, so that it holds no other ones in memory.
      const window = behind - from === 1 ? fetched : fetched.then((bytes) => bytes.slice(start, start + windowBytes));
      this.#hold(keyOf(packId, nth), window);
      windows.push(window);
    }
    return windows;
  }

  #take(key: string): Promise<Uint8Array> | undefined {
    const window = this.#windows.get(key);
    if (window === undefined) return undefined;
    this.#windows.delete(key);
    this.#windows.set(key, window);
    return window;
  }

  #hold(key: string, window: Promise<Uint8Array>): void {
    this.#windows.set(key, window);
    window.catch(() => {
      if (this.#windows.get(key) === window) this.#windows.delete(key);
    });
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= this.#maxWindows) break;
      this.#windows.delete(oldest);
    }
  }
}

const keyOf = (packId: ObjectId, nth: number): string => `${packId} ${nth}`;
