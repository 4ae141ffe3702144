/** Lets others have the thread between pieces of work that take it for long, and says when the time for a page is up. */
export class Breather {
  readonly #endMs: number;
  #pausedMs = performance.now();

  /** `budgetMs` from now on. */
  constructor(budgetMs: number) {
    this.#endMs = performance.now() + budgetMs;
  }

  get isOverdue(): boolean {
    return performance.now() >= this.#endMs;
  }

  /** Waits for a turn of the event loop when the thread was not given away for a while; rejects with the signal's reason. */
  async pause(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#pausedMs < maxBusyMs) return;
    await new Promise(setImmediate);
    this.#pausedMs = performance.now();
    signal.throwIfAborted();
  }
}

/** Other requests wait no longer than this. */
const maxBusyMs = 15;
