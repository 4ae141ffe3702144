import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Clock } from './clock.ts';
import type { LockHolder } from './lock-holder.ts';
import type { Repository } from './repository.ts';

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

/**
 * Takes a lock as restic does: create, wait, list again; refreshed until it is released. Shared locks go together, an exclusive
 * one with none. Stale locks (30 minutes old, or of a dead process of this host) are removed.
 * Errors: repository_locked (retry later; context: hostname, username, pid, since, exclusive), those of the storage.
 */
export async function acquireLock(repository: Repository, options: LockOptions & { exclusive: boolean }): Promise<Lock> {
  throw new HoldfastError('internal', `not written yet: ${repository.id} ${options.exclusive}`);
}
