import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { idOfName, locksPrefix } from '@holdfast/restic-format/layout';
import { decodeLockFile } from '@holdfast/restic-format/lock-file';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { isStale, type LockHolder } from './lock-holder.ts';
import { loadNamedFile } from './named-file.ts';
import { withSignal, type Repository } from './repository.ts';

/** A lock that stands in the way. */
export interface LockConflict {
  readonly holder: LockHolder;
  readonly exclusive: boolean;
}

interface ListedLock extends LockConflict {
  readonly id: ObjectId;
  readonly name: string;
}

/** A lock, not `ownId`, that does not go together with one of ours that is `exclusive` or shared. */
export async function findConflict(
  repository: Repository,
  exclusive: boolean,
  ownId: ObjectId | null,
  signal?: AbortSignal,
): Promise<LockConflict | null> {
  for await (const lock of listLocks(repository, signal)) if (lock.id !== ownId && (exclusive || lock.exclusive)) return lock;
  return null;
}

/** Removes the locks of holders that are gone. */
export async function removeStaleLocks(repository: Repository, own: LockHolder, now: Date, signal?: AbortSignal): Promise<void> {
  for await (const lock of listLocks(repository, signal)) {
    if (isStale(lock.holder, own, now)) await repository.storage.delete(lock.name, withSignal(signal));
  }
}

async function* listLocks(repository: Repository, signal?: AbortSignal): AsyncGenerator<ListedLock> {
  const { storage, cipher } = repository;
  const objects = await Array.fromAsync(storage.list(locksPrefix, withSignal(signal)));
  for (const { name, modifiedAt } of objects) {
    const id = idOfName(name);
    if (id === null) continue;
    try {
      const { timeNs, exclusive, ...holder } = decodeLockFile(await loadNamedFile(repository, name, id, signal), cipher);
      yield { id, name, exclusive, holder: { ...holder, since: new Date(Number(timeNs / 1_000_000n)) } };
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing')) continue; // released since it was listed
      if (!isHoldfastError(error, 'repository_damaged')) throw error;
      // Torn: nobody knows whose it is, so it counts as exclusive until it is as old as a stale one.
      yield { id, name, exclusive: true, holder: { hostname: 'unknown', username: 'unknown', pid: 0, since: modifiedAt } };
    }
  }
}
