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
  readonly name: string;
}

interface Look {
  readonly own: LockHolder;
  readonly now: Date;
  readonly signal?: AbortSignal | undefined;
}

/** A lock, not `ownId`, that does not go together with one of ours that is `exclusive` or shared. Stale ones are none. */
export async function findConflict(
  repository: Repository,
  exclusive: boolean,
  ownId: ObjectId | null,
  { own, now, signal }: Look,
): Promise<LockConflict | null> {
  for await (const lock of listLocks(repository, ownId, signal)) {
    if ((exclusive || lock.exclusive) && !isStale(lock.holder, own, now)) return lock;
  }
  return null;
}

/** As findConflict, before there is a lock of ours; removes the locks of holders that are gone. */
export async function findLivingConflict(
  repository: Repository,
  exclusive: boolean,
  { own, now, signal }: Look,
): Promise<LockConflict | null> {
  let conflict: LockConflict | null = null;
  for await (const lock of listLocks(repository, null, signal)) {
    if (isStale(lock.holder, own, now)) await removeStale(repository, lock.name, signal);
    else if (exclusive || lock.exclusive) conflict ??= lock;
  }
  return conflict;
}

/** Credentials that may not delete leave it for others that may. */
async function removeStale({ storage }: Repository, name: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await storage.delete(name, withSignal(signal));
  } catch (error) {
    if (!isHoldfastError(error, 'storage_denied')) throw error;
  }
}

/** All locks but `ownId`, of which everything is known. */
async function* listLocks(repository: Repository, ownId: ObjectId | null, signal?: AbortSignal): AsyncGenerator<ListedLock> {
  const { storage, cipher } = repository;
  const objects = await Array.fromAsync(storage.list(locksPrefix, withSignal(signal)));
  for (const { name, modifiedAt } of objects) {
    const id = idOfName(name);
    if (id === null || id === ownId) continue;
    try {
      const { timeNs, exclusive, ...holder } = decodeLockFile(await loadNamedFile(repository, name, id, signal), cipher);
      yield { name, exclusive, holder: { ...holder, since: new Date(Number(timeNs / 1_000_000n)) } };
    } catch (error) {
      if (isHoldfastError(error, 'storage_object_missing')) continue; // released since it was listed
      if (!isHoldfastError(error, 'repository_damaged')) throw error;
      // Torn: nobody knows whose it is, so it counts as exclusive until it is as old as a stale one.
      yield { name, exclusive: true, holder: { hostname: 'unknown', username: 'unknown', pid: 0, since: modifiedAt } };
    }
  }
}
