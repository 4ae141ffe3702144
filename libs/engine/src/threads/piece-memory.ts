/** What one piece holds. */
export const pieceBytes = 1024 * 1024;
/** Of one thread: more than the packs that it may have open and on their way. */
const maxPieces = 1024;

/** Memory that one thread fills and another reads. */
export interface SharedPieces {
  /** All pieces but the last one are full. */
  readonly parts: readonly Uint8Array<SharedArrayBuffer>[];
  /** Their numbers, by which they are given back. */
  readonly numbers: readonly number[];
  /** Of the thread that fills them: which ones are in use. */
  readonly inUse: SharedArrayBuffer;
}

/** When nobody reads them any more; the thread that filled them fills them again. */
export function giveBackPieces({ numbers, inUse }: SharedPieces): void {
  const marks = new Int32Array(inUse);
  for (const number of numbers) Atomics.store(marks, number, 0);
}

/**
 * The pieces of a thread, as many as were in use at once. Memory that is made anew for each pack has to be mapped page by page, and lies
 * around until the thread that read it last collects it.
 */
export class PieceMemory {
  readonly #inUse = new Int32Array(new SharedArrayBuffer(maxPieces * Int32Array.BYTES_PER_ELEMENT));
  readonly #pieces: Uint8Array<SharedArrayBuffer>[] = [];

  /** Throws a RangeError when there are too many of them. */
  take(): { readonly number: number; readonly bytes: Uint8Array<SharedArrayBuffer> } {
    for (const [number, bytes] of this.#pieces.entries()) {
      if (Atomics.compareExchange(this.#inUse, number, 0, 1) === 0) return { number, bytes };
    }
    const number = this.#pieces.length;
    if (number === maxPieces) throw new RangeError('too many packs are open');
    const bytes = new Uint8Array(new SharedArrayBuffer(pieceBytes));
    Atomics.store(this.#inUse, number, 1);
    this.#pieces.push(bytes);
    return { number, bytes };
  }

  get inUse(): SharedArrayBuffer {
    return this.#inUse.buffer;
  }
}

/** Bytes that are put one behind the other into pieces. */
export class PieceWriter {
  readonly #memory: PieceMemory;
  readonly #taken: { readonly number: number; readonly bytes: Uint8Array<SharedArrayBuffer> }[] = [];
  #lastBytes = pieceBytes;

  constructor(memory: PieceMemory) {
    this.#memory = memory;
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength;) {
      if (this.#lastBytes === pieceBytes) {
        this.#taken.push(this.#memory.take());
        this.#lastBytes = 0;
      }
      const room = Math.min(pieceBytes - this.#lastBytes, bytes.byteLength - done);
      this.#taken.at(-1)?.bytes.set(bytes.subarray(done, done + room), this.#lastBytes);
      this.#lastBytes += room;
      done += room;
    }
  }

  /** All that was appended. */
  take(): SharedPieces {
    const numbers = this.#taken.map(({ number }) => number);
    const parts = this.#taken.map(({ bytes }, nth) => (nth === numbers.length - 1 ? bytes.subarray(0, this.#lastBytes) : bytes));
    return { parts, numbers, inUse: this.#memory.inUse };
  }
}
