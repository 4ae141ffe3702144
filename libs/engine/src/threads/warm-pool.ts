import { borrowPool, type BorrowedPool, type ThreadOptions } from './borrowed-pool.ts';

export interface WarmPool extends BorrowedPool {
  /** The call has come to its work: from now on it ends what it has. */
  keep(): void;
}

/**
 * The pool of a call, whose threads start and load the module of their session while the call waits for something else. One of the call's own
 * ends with the signal, unless it is kept. Throws the signal's reason.
 */
export function warmPool(options: ThreadOptions, module: URL, signal: AbortSignal): WarmPool {
  signal.throwIfAborted();
  const borrowed = borrowPool(options);
  const end = (): void => void borrowed[Symbol.asyncDispose]();
  signal.addEventListener('abort', end, { once: true });
  borrowed.pool.warm(module);
  return { ...borrowed, keep: () => signal.removeEventListener('abort', end) };
}
