import type { BlobIndex } from './blob-index.ts';
import { loadIndex } from './load-index.ts';
import { acquireLock, type Lock, type LockOptions } from './lock.ts';
import type { Repository } from './repository.ts';

/**
 * One lock and one index for several calls that read the same repository: each of its own would wait for a lock to settle and read all
 * index files. Snapshots that were listed before it was opened are all in its index. The caller disposes of it after the last call.
 */
export interface RepositoryReading extends AsyncDisposable {
  readonly lock: Lock;
  readonly index: BlobIndex;
}

/** Errors: repository_locked, repository_damaged, those of the storage. */
export async function openReading(options: LockOptions & { readonly repository: Repository }): Promise<RepositoryReading> {
  const { repository, signal } = options;
  const lock = await acquireLock(repository, { ...options, exclusive: false, settlesMeanwhile: true });
  try {
    const { index } = await loadIndex(repository, { signal: signal === undefined ? lock.lost : AbortSignal.any([signal, lock.lost]) });
    return { lock, index, [Symbol.asyncDispose]: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** For calls that may be given one: its lock, and its index or a new one. */
export function lockOf(reading: RepositoryReading | undefined): { readonly lock?: Lock } {
  return reading === undefined ? {} : { lock: reading.lock };
}

export async function indexOf(repository: Repository, reading: RepositoryReading | undefined, signal: AbortSignal): Promise<BlobIndex> {
  return reading?.index ?? (await loadIndex(repository, { signal })).index;
}
