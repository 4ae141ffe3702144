/**
 * A fixed number of places, as Slots; but of those who wait, the one with the most to do is the next. At the end only little things are
 * left, so that all places are done at about the same time.
 */
export class LargestFirst {
  #free: number;
  readonly #waiting: { readonly size: number; readonly start: () => void }[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Sizes are compared with each other, and mean nothing else. */
  async run<T>(size: number, work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((start) => this.#waiting.push({ size, start }));
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  #release(): void {
    let best = 0;
    const count = Math.min(this.#waiting.length, maxCompared);
    for (let nth = 1; nth < count; nth++) if ((this.#waiting[nth]?.size ?? 0) > (this.#waiting[best]?.size ?? 0)) best = nth;
    const [next] = this.#waiting.splice(best, 1);
    if (next === undefined) this.#free++;
    else next.start();
  }
}

/** Of those who wait longest: a queue of any length is gone through in reasonable time. */
const maxCompared = 64;
