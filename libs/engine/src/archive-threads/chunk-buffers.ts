import { maxChunkBytes } from '@holdfast/restic-format/chunker';
import { Slots } from '../slots.ts';

/** A stream that has filled this much of a buffer looks for cuts; with none it goes on. */
export const groupBytes = 4 * 1024 * 1024;
/** However much of it was filled before, there is a cut in a full one. A thread has room for it. */
const bufferBytes = maxChunkBytes + 1024 * 1024;
/** On their way at once; one thread cuts no faster than these many are stored. */
const maxOnTheWay = 16;

/**
 * Buffers that streams fill and threads empty: they go over with what they hold and come back with the answer. Whoever reads a stream waits
 * for a place when the threads have enough to do: so a slow repository slows the stream.
 */
export class ChunkBuffers {
  readonly #places: Slots;
  readonly #signal: AbortSignal;
  /** The last that came back is the next to go: what is never needed takes no memory. */
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /** Two for each thread are on their way: one that it works on and one that is next. Each stream has one more, to fill. */
  constructor(threadCount: number, signal: AbortSignal) {
    this.#places = new Slots(Math.min(2 * threadCount, maxOnTheWay));
    this.#signal = signal;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#free.pop() ?? new Uint8Array(bufferBytes);
  }

  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#free.push(buffer);
  }

  /** Waits for a place on the way. Throws the signal's reason. */
  async depart(): Promise<void> {
    await this.#places.acquire();
    if (!this.#signal.aborted) return;
    this.#places.release();
    throw this.#signal.reason;
  }

  arrive(): void {
    this.#places.release();
  }
}
