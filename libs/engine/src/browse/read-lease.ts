import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { untilAborted } from '@holdfast/storage/until-aborted';
import { acquireLock, type Lock, type LockOptions } from '../lock.ts';
import type { Repository } from '../repository.ts';

/** A lock costs a write and two listings: a client that asks for range after range of a file has one for them all. */
export const lingerMs = 5_000;

/**
 * One shared lock for all reads that run at once, so that no cleanup takes away the packs that they are about to read. It is given back when
 * the last one has ended and none has come for a while.
 */
export class ReadLease implements AsyncDisposable {
  readonly #repository: Repository;
  readonly #options: Omit<LockOptions, 'signal'>;
  readonly #closed: AbortSignal;
  #lock: Promise<Lock> | undefined;
  #userCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #releasing: Promise<void> = Promise.resolve();

  constructor(repository: Repository, options: Omit<LockOptions, 'signal'>, closed: AbortSignal) {
    this.#repository = repository;
    this.#options = options;
    this.#closed = closed;
  }

  /**
   * Takes part in the lock; the signal that it gives ends with the caller's, and when the lock is lost. To be given back by `release`.
   * Errors: repository_locked, those of the storage.
   */
  async acquire(signal: AbortSignal): Promise<LeasePart> {
    signal.throwIfAborted();
    clearTimeout(this.#timer);
    this.#userCount++;
    let isReleased = false;
    const release = (): void => {
      if (!isReleased) this.#leave();
      isReleased = true;
    };
    try {
      const lock = await untilAborted(this.#get(), signal);
      return { signal: AbortSignal.any([signal, lock.lost, this.#closed]), release, [Symbol.dispose]: release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#giveBack();
    await this.#releasing;
  }

  #get(): Promise<Lock> {
    if (this.#closed.aborted) throw new HoldfastError('internal', 'the browser of this repository is closed');
    if (this.#lock !== undefined) return this.#lock;
    const lock = this.#begin();
    const forget = (): void => {
      if (this.#lock === lock) this.#lock = undefined;
    };
    void this.#watch(lock, forget);
    this.#lock = lock;
    return lock;
  }

  async #begin(): Promise<Lock> {
    await this.#releasing;
    return await acquireLock(this.#repository, { ...this.#options, exclusive: false, settlesMeanwhile: true, signal: this.#closed });
  }

  /** When there is no lock, or no more, the next one who asks tries anew. */
  async #watch(lock: Promise<Lock>, forget: () => void): Promise<void> {
    try {
      const held = await lock;
      const onLost = (): void => {
        forget();
        void held.release();
      };
      held.lost.addEventListener('abort', onLost, { once: true });
    } catch {
      // Whoever asked for it was told.
      forget();
    }
  }

  #leave(): void {
    this.#userCount--;
    if (this.#userCount > 0 || this.#closed.aborted) return;
    this.#timer = setTimeout(() => this.#giveBack(), lingerMs);
    // A process that has nothing else to do ends: the lock is given back when the browser is closed, or goes stale.
    this.#timer.unref();
  }

  #giveBack(): void {
    const lock = this.#lock;
    this.#lock = undefined;
    if (lock === undefined) return;
    this.#releasing = lock.then(
      (held) => held.release(),
      // It was never had, and whoever asked for it was told.
      () => {},
    );
  }
}

export interface LeasePart extends Disposable {
  readonly signal: AbortSignal;
  release(): void;
}
