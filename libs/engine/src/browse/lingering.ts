import { untilAborted } from '@holdfast/storage/until-aborted';

export interface LingeringOptions<T> {
  open(): Promise<T>;
  /** Never rejects. */
  close(value: T): Promise<void>;
  /** How long it stays open when nobody uses it. */
  readonly lingerMs: number;
}

export interface LingeringUse<T> extends Disposable {
  readonly value: T;
}

/** Something that is opened for the first who needs it, shared by all who need it at once, and closed a while after the last has left. */
export class Lingering<T> implements AsyncDisposable {
  readonly #options: LingeringOptions<T>;
  #value: Promise<T> | undefined;
  /** What came of it. */
  #opened: T | undefined;
  #userCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> = Promise.resolve();
  #isDisposed = false;

  constructor(options: LingeringOptions<T>) {
    this.#options = options;
  }

  /** To be disposed of when it is needed no longer. Rejects as `open` does, and with the signal's reason. */
  async use(signal: AbortSignal): Promise<LingeringUse<T>> {
    signal.throwIfAborted();
    clearTimeout(this.#timer);
    this.#userCount++;
    let hasLeft = false;
    const leave = (): void => {
      if (!hasLeft) this.#leave();
      hasLeft = true;
    };
    try {
      return { value: await untilAborted(this.#get(), signal), [Symbol.dispose]: leave };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** It is of no more use: it is closed, and the next one who needs it opens another. */
  drop(value: T): void {
    if (this.#opened === value) this.#close();
  }

  /** Closes it, whoever uses it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    clearTimeout(this.#timer);
    this.#close();
    await this.#closing;
  }

  #get(): Promise<T> {
    if (this.#value !== undefined) return this.#value;
    const value = this.#open();
    this.#value = value;
    value.catch(() => {
      // Whoever waited was told; the next one tries anew.
      if (this.#value === value) this.#value = undefined;
    });
    return value;
  }

  async #open(): Promise<T> {
    await this.#closing;
    this.#opened = await this.#options.open();
    return this.#opened;
  }

  #leave(): void {
    this.#userCount--;
    if (this.#userCount > 0 || this.#isDisposed) return;
    this.#timer = setTimeout(() => this.#close(), this.#options.lingerMs);
    // Does not keep a process alive that has nothing else to do.
    this.#timer.unref();
  }

  #close(): void {
    const value = this.#value;
    if (value === undefined) return;
    this.#value = undefined;
    this.#opened = undefined;
    this.#closing = this.#closeNow(value);
  }

  async #closeNow(value: Promise<T>): Promise<void> {
    const [opened] = await Promise.allSettled([value]);
    if (opened.status === 'fulfilled') await this.#options.close(opened.value);
  }
}
