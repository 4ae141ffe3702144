/** A fixed number of places: whoever finds too few of them free waits in line. */
export class Slots {
  #free: number;
  readonly #waiting: { count: number; resolve: () => void }[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** `count` is at most what there is in all. */
  async acquire(count = 1): Promise<void> {
    if (this.#waiting.length === 0 && this.#free >= count) {
      this.#free -= count;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  release(count = 1): void {
    this.#free += count;
    for (let next = this.#waiting[0]; next !== undefined && next.count <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.count;
      next.resolve();
    }
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}

/** Calls `work` for each item, `count` at a time, in order. After the first failure nothing more is begun; it is thrown when all have ended. */
export async function forEachConcurrently<T>(items: Iterable<T>, count: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const runner = async (): Promise<void> => {
    while (failures.length === 0) {
      const next = queue.next();
      if (next.done === true) return;
      try {
        await work(next.value);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: count }, runner));
  if (failures.length > 0) throw failures[0];
}
