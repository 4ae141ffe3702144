import { openThreadPool, type ThreadPool } from './thread-pool.ts';

/** How a call gets its threads. */
export interface ThreadOptions {
  /** Threads that the caller keeps for several calls. By default a call has its own, and ends them with itself. */
  readonly pool?: ThreadPool;
  /** Threads of the call's own pool; by default one a core. */
  readonly concurrency?: number;
  /** Of the call's own pool: see ThreadPoolOptions. Threads of `pool` keep the priority that they have. */
  readonly lowPriority?: boolean;
}

export interface BorrowedPool extends AsyncDisposable {
  readonly pool: ThreadPool;
}

/** The caller's pool, which stays open, or one that ends when this is disposed of. */
export function borrowPool({ pool, concurrency, lowPriority = false }: ThreadOptions): BorrowedPool {
  if (pool !== undefined) return { pool, [Symbol.asyncDispose]: async () => {} };
  const own = openThreadPool({ lowPriority, ...(concurrency === undefined ? {} : { concurrency }) });
  return { pool: own, [Symbol.asyncDispose]: () => own.close() };
}
