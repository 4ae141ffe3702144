/**
 * Bytes between one who pushes them (a socket) and one who pulls them (a file that is stored): the pusher is told to pause when
 * more than the limit waits, and to go on when half of it is gone.
 */
export interface ByteQueueOptions {
  readonly onPause: () => void;
  readonly onResume: () => void;
}

/** Enough to keep the receiver busy while it stores a chunk; a connection's share of the worker's memory. */
const pauseBytes = 2 * 1024 * 1024;

export class ByteQueue {
  readonly #options: ByteQueueOptions;
  readonly #parts: Buffer[] = [];
  #waitingBytes = 0;
  #isPaused = false;
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: ByteQueueOptions) {
    this.#options = options;
  }

  push(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#isPaused && this.#waitingBytes > pauseBytes) {
      this.#isPaused = true;
      this.#options.onPause();
    }
    this.#wake?.();
  }

  /** No more comes: what waits is still given, then the error when there is one. */
  end(outcome: { readonly error?: unknown } = {}): void {
    this.#end ??= outcome;
    this.#wake?.();
  }

  /** The next bytes; null at the end. */
  async pull(): Promise<Buffer | null> {
    for (;;) {
      const part = this.#parts.shift();
      if (part !== undefined) {
        this.#take(part.length);
        return part;
      }
      if (this.#end !== undefined) {
        if ('error' in this.#end) throw this.#end.error;
        return null;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
  }

  #take(bytes: number): void {
    this.#waitingBytes -= bytes;
    if (!this.#isPaused || this.#waitingBytes > pauseBytes / 2) return;
    this.#isPaused = false;
    this.#options.onResume();
  }
}
