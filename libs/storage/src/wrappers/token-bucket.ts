import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Paces a stream of bytes: it fills at a fixed rate, and who takes more than it holds waits until that has flowed in. Whoever comes
 * first goes first. All that has been let through by time t is at most rate × t and what the bucket holds.
 */
export interface TokenBucket {
  /** Resolves when so many bytes may pass. Aborting rejects with the signal's reason, and the bytes count as not taken. */
  take(sizeBytes: number, signal?: AbortSignal): Promise<void>;
  /** Counts bytes that pass without waiting; those who come later wait for them. */
  spend(sizeBytes: number): void;
}

/** What an idle bucket gathers: enough to bridge the pauses between two packs, too little to be felt on a line. */
export const burstMs = 250;
/** The longest that a timer of Node can be set to. */
const maxTimerMs = 2 ** 31 - 1;

/** `nowMs` is a clock that only goes forward. */
export function createTokenBucket(bytesPerSecond: number, nowMs: () => number = () => performance.now()): TokenBucket {
  return new FillingBucket(bytesPerSecond / 1000, nowMs);
}

class FillingBucket implements TokenBucket {
  readonly #bytesPerMs: number;
  readonly #nowMs: () => number;
  /** Below zero: bytes that are promised to those who wait. */
  #availableBytes: number;
  #filledAtMs: number;

  constructor(bytesPerMs: number, nowMs: () => number) {
    this.#bytesPerMs = bytesPerMs;
    this.#nowMs = nowMs;
    this.#availableBytes = bytesPerMs * burstMs;
    this.#filledAtMs = nowMs();
  }

  async take(sizeBytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.spend(sizeBytes);
    const dueAtMs = this.#filledAtMs - this.#availableBytes / this.#bytesPerMs;
    try {
      // A timer may end a fraction of a millisecond early.
      for (let leftMs = dueAtMs - this.#nowMs(); leftMs > 0; leftMs = dueAtMs - this.#nowMs()) {
        await sleep(Math.min(Math.ceil(leftMs), maxTimerMs), undefined, signal === undefined ? {} : { signal });
      }
    } catch (error) {
      this.#availableBytes += sizeBytes;
      signal?.throwIfAborted();
      throw error;
    }
  }

  spend(sizeBytes: number): void {
    const nowMs = this.#nowMs();
    const filled = this.#availableBytes + (nowMs - this.#filledAtMs) * this.#bytesPerMs;
    this.#availableBytes = Math.min(filled, this.#bytesPerMs * burstMs) - sizeBytes;
    this.#filledAtMs = nowMs;
  }
}
