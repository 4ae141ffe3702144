import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { lockName } from '@holdfast/restic-format/layout';
import { encodeLockFile } from '@holdfast/restic-format/lock-file';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { systemClock, type Clock } from './clock.ts';
import { currentHolder, staleAfterMs, type LockHolder } from './lock-holder.ts';
import { findConflict, findLivingConflict } from './lock-list.ts';
import { saveNamedFile } from './named-file.ts';
import { withSignal, type Repository } from './repository.ts';

export interface Lock extends AsyncDisposable {
  readonly exclusive: boolean;
  /** Aborts with repository_locked when the lock could not be refreshed in time: the work must stop at once. */
  readonly lost: AbortSignal;
  /** Never throws: a lock file that cannot be deleted goes stale by itself, and onWarning hears of it. Calling it twice is no error. */
  release(): Promise<void>;
}

export interface LockOptions {
  /** How long to wait for others to finish; 0 (the default) fails at once. */
  readonly waitMs?: number;
  readonly clock?: Clock;
  /** Who holds it; by default this process. */
  readonly holder?: LockHolder;
  readonly signal?: AbortSignal;
  /** Called once for each holder that is waited for. */
  readonly onWaiting?: (holder: LockHolder) => void;
  readonly onWarning?: (message: string, error: unknown) => void;
}

/** Between creating a lock and looking again: the time in which two that began together become visible to each other. restic's own. */
export const settleMs = 200;
/** Well under the 5 minutes within which restic refreshes. */
export const refreshIntervalMs = 2 * 60 * 1000;
/** Without a refresh for this long the work stops: others may remove the lock at 30 minutes, and clocks differ. */
export const lostAfterMs = 20 * 60 * 1000;
const firstRetryMs = 1_000;
const lastRetryMs = 30_000;
/** A storage that does not answer must not hold up the end of a run. */
const releaseTimeoutMs = 10_000;

interface AcquireOptions extends LockOptions {
  readonly exclusive: boolean;
  /**
   * Only for who writes nothing into the repository: the lock is had at once, and is lost when another's shows while it settles. Where
   * a listing has all that was written before it, there is nothing to wait for: of two that write their files and then list, one at
   * least sees the other. Whoever reads can stop later as well.
   */
  readonly settlesMeanwhile?: boolean;
  /** Called each time a lock file was written and settles. */
  readonly onWritten?: () => void;
  /** Called when the lock that was written is not had after all. */
  readonly onGivenUp?: () => void;
}

/**
 * Takes a lock as restic does: create, wait, list again; refreshed until it is released. Shared locks go together, an exclusive
 * one with none. Stale locks (30 minutes old, or of a dead process of this host) are removed.
 * Errors: repository_locked (retry later; context: hostname, username, pid, since, exclusive), those of the storage.
 */
export async function acquireLock(repository: Repository, options: AcquireOptions): Promise<Lock> {
  const { clock = systemClock, waitMs = 0, exclusive, signal } = options;
  const holder = options.holder ?? currentHolder();
  const deadline = clock.now().getTime() + waitMs;
  const waitedFor = new Set<string>();
  for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, lastRetryMs)) {
    signal?.throwIfAborted();
    const conflict =
      (await findLivingConflict(repository, exclusive, { own: holder, now: clock.now(), signal })) ??
      (await tryLock(repository, options, holder, clock));
    if (conflict instanceof HeldLock) return conflict;
    const leftMs = deadline - clock.now().getTime();
    if (leftMs <= 0) throw lockedError(repository, conflict.holder, conflict.exclusive);
    const key = `${conflict.holder.hostname} ${conflict.holder.pid}`;
    if (!waitedFor.has(key)) options.onWaiting?.(conflict.holder);
    waitedFor.add(key);
    // Jitter, so that two that met do not meet again each time.
    await clock.sleep(Math.min(leftMs, retryMs * (0.5 + Math.random())), signal);
  }
}

/** Runs `work` under the caller's lock when it holds one, else under one of its own that ends with it. Its signal also ends when the lock is lost. */
export async function withLock<T>(
  options: AcquireOptions & { repository: Repository; lock?: Lock },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { lock: given, repository, signal } = options;
  if (given?.exclusive === false && options.exclusive) throw new HoldfastError('internal', 'an exclusive lock is needed here');
  const lock = given ?? (await acquireLock(repository, options));
  try {
    return await work(signal === undefined ? lock.lost : AbortSignal.any([signal, lock.lost]));
  } finally {
    if (given === undefined) await lock.release();
  }
}

/**
 * Runs `work` under a shared lock, the caller's or one of its own. `prepare` reads what the work begins with while the lock settles, and
 * on from there, however long it takes: no holder of an exclusive lock goes on once our file is there, for it looks again too, and those
 * from before were seen before. When the lock is not had after all, what was read is thrown away, and read again at the next try.
 * The signal of `prepare` ends then, and when the lock is lost.
 */
export async function withSharedLock<P, T>(
  options: LockOptions & { repository: Repository; lock?: Lock },
  prepare: (signal: AbortSignal) => Promise<P>,
  work: (prepared: P, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { lock: given, signal } = options;
  let ahead: { readonly abort: AbortController; readonly prepared: Promise<P> } | undefined;
  const begun = new Set<Promise<unknown>>();
  const begin = (): void => {
    ahead?.abort.abort();
    const abort = new AbortController();
    const prepared = prepare(signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]));
    // Whoever waits for it hears of it; nobody does when the lock is not had.
    const ended: Promise<unknown> = Promise.allSettled([prepared]).then(() => begun.delete(ended));
    begun.add(ended);
    ahead = { abort, prepared };
  };
  if (given !== undefined) begin();
  try {
    return await withLock({ ...options, exclusive: false, onWritten: begin, onGivenUp: () => ahead?.abort.abort() }, async (lockSignal) => {
      invariant(ahead !== undefined, 'a lock was had that was never written');
      const { abort, prepared } = ahead;
      const onLost = (): void => abort.abort(lockSignal.reason);
      if (lockSignal.aborted) onLost();
      lockSignal.addEventListener('abort', onLost, { once: true });
      try {
        return await work(await prepared, lockSignal);
      } finally {
        lockSignal.removeEventListener('abort', onLost);
      }
    });
  } finally {
    ahead?.abort.abort();
    // Not only the last one: none of what was given up may go on when the caller does.
    await Promise.allSettled(begun);
  }
}

async function tryLock(repository: Repository, options: AcquireOptions, holder: LockHolder, clock: Clock) {
  const { exclusive, settlesMeanwhile = false, signal, onWarning = () => {}, onWritten = () => {}, onGivenUp = () => {} } = options;
  invariant(!(exclusive && settlesMeanwhile), 'an exclusive lock is had when it has settled');
  const lock = await HeldLock.create(repository, { exclusive, holder, clock, onWarning }, signal);
  try {
    onWritten();
    if (!settlesMeanwhile) await clock.sleep(settleMs, signal);
    const conflict = await findConflict(repository, exclusive, lock.id, { own: holder, now: clock.now(), signal });
    if (conflict === null) {
      lock.keep(settlesMeanwhile);
      return lock;
    }
    onGivenUp();
    await lock.release();
    return conflict;
  } catch (error) {
    onGivenUp();
    await lock.release();
    throw error;
  }
}

function lockedError(repository: Repository, holder: LockHolder, exclusive: boolean): HoldfastError {
  const { hostname, username, pid, since } = holder;
  return new HoldfastError(
    'repository_locked',
    `${repository.storage.location} is locked by process ${pid} of ${username} on ${hostname} since ${since.toISOString()}`,
    { context: { hostname, username, pid, since: since.toISOString(), exclusive } },
  );
}

interface HeldLockOptions {
  readonly exclusive: boolean;
  readonly holder: LockHolder;
  readonly clock: Clock;
  readonly onWarning: (message: string, error: unknown) => void;
}

class HeldLock implements Lock {
  readonly exclusive: boolean;
  #id: ObjectId;
  readonly #repository: Repository;
  readonly #options: HeldLockOptions;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();
  #refreshing: Promise<void> = Promise.resolve();
  #refreshedAtMs: number;

  static async create(repository: Repository, options: HeldLockOptions, signal?: AbortSignal): Promise<HeldLock> {
    const startedAtMs = options.clock.now().getTime();
    return new HeldLock(repository, options, await writeLock(repository, options, signal), startedAtMs);
  }

  private constructor(repository: Repository, options: HeldLockOptions, id: ObjectId, startedAtMs: number) {
    this.#repository = repository;
    this.#options = options;
    this.#id = id;
    this.#refreshedAtMs = startedAtMs;
    this.exclusive = options.exclusive;
  }

  get id(): ObjectId {
    return this.#id;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Refreshes it until it is released. */
  keep(isSettling: boolean): void {
    this.#refreshing = isSettling ? this.#settle().then(() => this.#refreshUntilReleased()) : this.#refreshUntilReleased();
  }

  async release(): Promise<void> {
    if (this.#released.signal.aborted) return;
    this.#released.abort();
    await this.#refreshing;
    try {
      await this.#repository.storage.delete(lockName(this.#id), { signal: AbortSignal.timeout(releaseTimeoutMs) });
    } catch (error) {
      this.#options.onWarning(`lock ${this.#id} could not be removed; it goes stale in ${staleAfterMs / 60_000} minutes`, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  async #settle(): Promise<void> {
    const { clock, holder } = this.#options;
    const stop = this.#released.signal;
    try {
      await clock.sleep(settleMs, stop);
      const conflict = await findConflict(this.#repository, this.exclusive, this.#id, { own: holder, now: clock.now(), signal: stop });
      if (conflict !== null) this.#lost.abort(lockedError(this.#repository, conflict.holder, conflict.exclusive));
    } catch (error) {
      // Whether it is had is not known.
      if (!stop.aborted) this.#lost.abort(error);
    }
  }

  async #refreshUntilReleased(): Promise<void> {
    const { clock, onWarning } = this.#options;
    const stop = this.#released.signal;
    while (!stop.aborted && !this.#lost.signal.aborted) {
      try {
        await clock.sleep(refreshIntervalMs, stop);
        await this.#refresh(stop);
      } catch (error) {
        if (stop.aborted) return;
        onWarning(`lock ${this.#id} could not be refreshed`, error);
        const isTooLate = clock.now().getTime() - this.#refreshedAtMs >= lostAfterMs;
        if (isTooLate || isHoldfastError(error, 'repository_locked')) {
          this.#lost.abort(
            new HoldfastError('repository_locked', `the lock on ${this.#repository.storage.location} was lost`, { cause: error }),
          );
          return;
        }
      }
    }
  }

  /** A new file with a new time, then the old one goes: there is no moment without a lock. */
  async #refresh(signal: AbortSignal): Promise<void> {
    const { storage } = this.#repository;
    const { clock } = this.#options;
    // After a long standstill others may have taken the lock for stale: going on without it would be a work under no lock.
    const oldName = lockName(this.#id);
    try {
      await storage.stat(oldName, withSignal(signal));
    } catch (error) {
      if (!isHoldfastError(error, 'storage_object_missing')) throw error;
      throw new HoldfastError('repository_locked', `another process removed lock ${this.#id}`, { cause: error });
    }
    const startedAtMs = clock.now().getTime();
    this.#id = await writeLock(this.#repository, this.#options, signal);
    this.#refreshedAtMs = startedAtMs;
    // Not under the signal: a release in this moment must not leave the old one behind.
    await storage.delete(oldName, { signal: AbortSignal.timeout(releaseTimeoutMs) });
  }
}

function writeLock(repository: Repository, { clock, exclusive, holder }: HeldLockOptions, signal?: AbortSignal): Promise<ObjectId> {
  const { hostname, username, pid, uid, gid } = holder;
  const timeNs = BigInt(clock.now().getTime()) * 1_000_000n;
  const bytes = encodeLockFile(
    { timeNs, exclusive, hostname, username, pid, ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) },
    repository.cipher,
  );
  return saveNamedFile(repository, lockName, bytes, signal);
}
