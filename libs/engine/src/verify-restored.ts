import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Source } from '@holdfast/sources/source';
import type { Lock, LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';

export interface VerifyRestoredOptions extends LockOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Reads the restored folder: a file system source with `restoredRoot` as its only path. Stays the caller's to close. */
  readonly source: Source;
  /** The folder that the target was given: the snapshot's `/srv/a` is found at `<restoredRoot>/srv/a`. */
  readonly restoredRoot: string;
  /** As it was restored. Default: everything. */
  readonly select?: { readonly paths: readonly string[] };
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface Difference {
  /** The snapshot's path. */
  readonly path: string;
  readonly kind: 'missing' | 'unexpected' | 'type' | 'content' | 'size' | 'mode' | 'modified_time' | 'link_target';
  readonly detail: string;
}

export interface VerifyRestoredResult {
  /** At most maxDifferencesListed of them; differenceCount counts all. Empty means: as in the snapshot. */
  readonly differences: readonly Difference[];
  readonly differenceCount: number;
  readonly filesCompared: number;
  readonly bytesCompared: number;
}

/**
 * Compares a restored folder with its snapshot: names, types, modes, times (to the microsecond), link targets, and the content of
 * every file by the hashes of its blobs. Reads nothing of the data packs. Differences are results, never thrown.
 * Errors: snapshot_missing, repository_damaged, repository_locked, path_not_found (no restored folder), those of the storage.
 */
export async function verifyRestored(options: VerifyRestoredOptions): Promise<VerifyRestoredResult> {
  throw new HoldfastError('internal', `not written yet: ${options.repository.id}`);
}
