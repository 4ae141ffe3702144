import { snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import type { Repository } from './repository.ts';
import { listSnapshotIds } from './snapshots.ts';

export interface ForgetOptions extends LockOptions {
  readonly repository: Repository;
  /** Ids that are not there are no error. */
  readonly snapshotIds: readonly ObjectId[];
  /** An exclusive lock that the caller holds already (to forget and prune in one go); by default one is taken for the call. */
  readonly lock?: Lock;
}

export interface ForgetResult {
  readonly forgottenIds: readonly ObjectId[];
}

/**
 * Removes snapshot files; the data stays until prune. Calling it again after a failure is safe.
 * Errors: repository_locked, those of the storage.
 */
export async function forget(options: ForgetOptions): Promise<ForgetResult> {
  return await withLock({ ...options, exclusive: true }, async (signal) => {
    const { repository, snapshotIds } = options;
    const present = new Set(await listSnapshotIds(repository, signal));
    const forgottenIds = [...new Set(snapshotIds)].filter((id) => present.has(id));
    for (const id of forgottenIds) await repository.storage.delete(snapshotName(id), { signal });
    return { forgottenIds };
  });
}
