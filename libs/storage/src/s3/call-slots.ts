/** Waits for a slot; gone from the line when its call is aborted. */
type Turn = () => void;

/**
 * So many calls at once; the others wait in line, first come first served. A request is signed with the time when its turn has come, not
 * when it was asked for: servers refuse signatures that are older than a quarter of an hour.
 */
export class CallSlots {
  #freeCount: number;
  readonly #line: Turn[] = [];

  constructor(slotCount: number) {
    this.#freeCount = slotCount;
  }

  /** Rejects with the signal's reason when it is aborted before the turn has come; afterwards the work itself has to look. */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    if (this.#freeCount > 0) this.#freeCount -= 1;
    else await this.#wait(signal);
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  /** A slot that comes free goes straight to the next in line. */
  #give(): void {
    const next = this.#line.shift();
    if (next === undefined) this.#freeCount += 1;
    else next();
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = (): void => {
      this.#line.splice(this.#line.indexOf(resolve), 1);
      reject(signal?.reason);
    };
    this.#line.push(resolve);
    signal?.addEventListener('abort', leave, { once: true });
    await promise.finally(() => signal?.removeEventListener('abort', leave));
  }
}
