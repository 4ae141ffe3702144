import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Target, TargetWarning } from '@holdfast/sources/target';
import type { Lock, LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';

export interface RestoreOptions extends LockOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Opened and closed by the call. */
  readonly target: Target;
  /** Absolute paths in the snapshot: each with all that is below it, and the folders above. Default: everything. */
  readonly select?: { readonly paths: readonly string[] };
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface RestoreResult {
  readonly filesRestored: number;
  readonly directoriesRestored: number;
  /** Symlinks, fifos, devices and sockets. */
  readonly otherRestored: number;
  readonly hardLinksRestored: number;
  readonly bytesRestored: number;
  /** What could not be set, such as an owner when not root. At most maxWarningsListed; warningCount counts all. */
  readonly warnings: readonly TargetWarning[];
  readonly warningCount: number;
  /** Files whose content is damaged or missing in the repository: not there, or not whole. At most maxWarningsListed. */
  readonly failed: readonly TargetWarning[];
  readonly failedCount: number;
}

/**
 * Writes a snapshot, or the selected part of it, to the target; every blob is checked against its hash before it is written.
 * When it throws or is aborted, what was written so far is left in the target.
 * Errors: snapshot_missing, path_not_found (nothing selected is there), repository_damaged (a folder cannot be read),
 * repository_locked, those of the target and the storage.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  throw new HoldfastError('internal', `not written yet: ${options.repository.id}`);
}
