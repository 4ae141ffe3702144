import { snapshotName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { deleteUnlessHeld, findHolds, HeldTally, type HeldObjects } from './held-objects.ts';
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
  /** Snapshots that may not go yet: they stay whole, and so does what they need. Absent when there are none. */
  readonly held?: HeldObjects;
}

/**
 * Removes snapshot files; the data stays until prune. Calling it again after a failure is safe. A snapshot that is held stays.
 * Errors: repository_locked, those of the storage.
 */
export async function forget(options: ForgetOptions): Promise<ForgetResult> {
  return await withLock({ ...options, exclusive: true }, async (signal) => {
    const { repository, snapshotIds } = options;
    const present = new Set(await listSnapshotIds(repository, signal));
    const wantedIds = [...new Set(snapshotIds)].filter((id) => present.has(id));
    const held = new HeldTally();
    const gone: ObjectId[] = [];
    for (const id of wantedIds) {
      const hold = await deleteUnlessHeld(repository.storage, snapshotName(id), { signal });
      if (hold === undefined) gone.push(id);
      else held.add(snapshotName(id), 'snapshot', 0, hold);
    }
    const heldObjects = held.summary();
    return { forgottenIds: gone, ...(heldObjects === undefined ? {} : { held: heldObjects }) };
  });
}

/** Which of these snapshots may not be removed yet, and until when. Errors: those of the storage. */
export async function findHeldSnapshots(
  { storage }: Repository,
  snapshotIds: readonly ObjectId[],
  signal?: AbortSignal,
): Promise<{ readonly heldIds: readonly ObjectId[]; readonly held: HeldObjects | undefined }> {
  const holds = await findHolds(storage, snapshotIds.map(snapshotName), signal);
  const tally = new HeldTally();
  for (const [name, hold] of holds) tally.add(name, 'snapshot', 0, hold);
  return { heldIds: snapshotIds.filter((id) => holds.has(snapshotName(id))), held: tally.summary() };
}
