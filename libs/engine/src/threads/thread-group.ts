import type { Transferable } from 'node:worker_threads';
import type { PoolThread } from './thread-pool.ts';

export interface GroupOptions<Event = unknown> {
  /** URL of the module that exports `openThreadSession`. */
  readonly module: URL;
  /** What each session is opened with; a function of the thread's number when it differs. */
  readonly data: unknown;
  readonly signal: AbortSignal;
  onEvent?(event: Event, threadNumber: number): void;
}

/** One session in each thread of a pool. */
export interface ThreadGroup extends AsyncDisposable {
  readonly threadCount: number;
  /** Calls that the thread has not answered. */
  pendingCount(threadNumber: number): number;
  /**
   * Hands a call to one thread. Rejects with what the session threw, and with the signal's reason as soon as it is aborted:
   * the thread ends the call by itself then.
   */
  call(threadNumber: number, input: unknown, transfer?: readonly Transferable[]): Promise<unknown>;
  /** The same call to every thread. */
  callAll(input: unknown): Promise<unknown[]>;
  /** Makes the sessions give up, waits for them to close, and ends a thread that does not. Calling it twice is no error. */
  close(): Promise<void>;
}

/** A thread that has not noticed an abort by then is ended: the caller was promised an end within a second. */
const closeTimeoutMs = 700;

export function openThreadGroup(threads: readonly PoolThread[], session: number, options: GroupOptions): ThreadGroup {
  return new SessionGroup(threads, session, options);
}

/** The thread with the fewest calls to answer. */
export function leastBusy(group: ThreadGroup): number {
  let best = 0;
  for (let nth = 1; nth < group.threadCount; nth++) if (group.pendingCount(nth) < group.pendingCount(best)) best = nth;
  return best;
}

class SessionGroup implements ThreadGroup {
  readonly #threads: readonly PoolThread[];
  readonly #session: number;
  readonly #signal: AbortSignal;
  readonly #abortFlag = new Int32Array(new SharedArrayBuffer(4));
  readonly #aborted = Promise.withResolvers<never>();
  readonly #onAbort = (): void => {
    Atomics.store(this.#abortFlag, 0, 1);
    this.#aborted.reject(this.#signal.reason);
  };
  readonly #pending: number[];
  #closing: Promise<void> | undefined;

  constructor(threads: readonly PoolThread[], session: number, options: GroupOptions) {
    const { module, data, signal } = options;
    this.#threads = threads;
    this.#session = session;
    this.#signal = signal;
    this.#pending = threads.map(() => 0);
    this.#aborted.promise.catch(() => {});
    if (signal.aborted) this.#onAbort();
    signal.addEventListener('abort', this.#onAbort, { once: true });
    const abortFlag = this.#abortFlag.buffer;
    for (const thread of threads) {
      thread.onEvent(session, (event) => options.onEvent?.(event, thread.number));
      thread.post({ kind: 'open', session, module: module.href, threadNumber: thread.number, abortFlag, data });
    }
  }

  get threadCount(): number {
    return this.#threads.length;
  }

  pendingCount(threadNumber: number): number {
    return this.#pending[threadNumber] ?? 0;
  }

  async call(threadNumber: number, input: unknown, transfer?: readonly Transferable[]): Promise<unknown> {
    this.#signal.throwIfAborted();
    const thread = this.#threads[threadNumber];
    if (thread === undefined) throw new RangeError(`there is no thread ${threadNumber}`);
    this.#pending[threadNumber] = this.pendingCount(threadNumber) + 1;
    try {
      return await Promise.race([thread.call({ kind: 'call', session: this.#session, input }, transfer), this.#aborted.promise]);
    } finally {
      this.#pending[threadNumber] = this.pendingCount(threadNumber) - 1;
    }
  }

  async callAll(input: unknown): Promise<unknown[]> {
    return await Promise.all(this.#threads.map((thread) => this.call(thread.number, input)));
  }

  async close(): Promise<void> {
    await (this.#closing ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    Atomics.store(this.#abortFlag, 0, 1);
    await Promise.all(
      this.#threads.map(async (thread) => {
        const timer = setTimeout(() => void thread.terminate(), closeTimeoutMs);
        try {
          await thread.call({ kind: 'close', session: this.#session });
        } catch {
          // It has ended, or its session could not give back all that it held: either way nothing of it runs on.
        } finally {
          clearTimeout(timer);
          thread.onEvent(this.#session, undefined);
        }
      }),
    );
  }
}
