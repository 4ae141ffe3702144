import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Lock, LockOptions } from './lock.ts';
import type { Repository } from './repository.ts';

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
  throw new HoldfastError('internal', `not written yet: ${options.repository.id}`);
}
