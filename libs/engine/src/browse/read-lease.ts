import { acquireLock, type Lock, type LockOptions } from '../lock.ts';
import type { Repository } from '../repository.ts';
import { Lingering } from './lingering.ts';

/** A lock costs a write and two listings: a client that asks for range after range of a file has one for them all. */
const lingerMs = 5_000;

/**
 * One shared lock for all reads that run at once, so that no cleanup takes away the packs that they are about to read. It is given back when
 * the last one has ended and none has come for a while.
 */
export class ReadLease implements AsyncDisposable {
  readonly #lock: Lingering<Lock>;
  readonly #closed: AbortSignal;

  constructor(repository: Repository, options: Omit<LockOptions, 'signal'>, closed: AbortSignal) {
    this.#closed = closed;
    const open = async (): Promise<Lock> => {
      closed.throwIfAborted();
      return await acquireLock(repository, { ...options, exclusive: false, settlesMeanwhile: true, signal: closed });
    };
    this.#lock = new Lingering({ open, close: (lock) => lock.release(), lingerMs });
  }

  /**
   * Takes part in the lock until it is disposed of; its signal ends with the caller's, and when the lock is lost. Errors: repository_locked,
   * those of the storage.
   */
  async acquire(signal: AbortSignal): Promise<LeasePart> {
    const use = await this.#lock.use(signal);
    if (use.value.lost.aborted) {
      // Lost while nobody used it, perhaps.
      this.#lock.drop(use.value);
      use[Symbol.dispose]();
      return await this.acquire(signal);
    }
    return { signal: AbortSignal.any([signal, use.value.lost, this.#closed]), [Symbol.dispose]: () => use[Symbol.dispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock[Symbol.asyncDispose]();
  }
}

export interface LeasePart extends Disposable {
  readonly signal: AbortSignal;
}
