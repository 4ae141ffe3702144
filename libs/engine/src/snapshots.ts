import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Snapshot as SnapshotFile } from '@holdfast/restic-format/snapshot-file';
import type { Repository } from './repository.ts';

/** A snapshot file with its name. */
export interface Snapshot extends SnapshotFile {
  readonly id: ObjectId;
}

/** All snapshots, oldest first. Errors: repository_damaged when one cannot be read, those of the storage. */
export async function listSnapshots(repository: Repository, options: { signal?: AbortSignal } = {}): Promise<Snapshot[]> {
  throw new HoldfastError('internal', `not written yet: ${repository.id} ${String(options.signal)}`);
}

/** Errors: snapshot_missing, repository_damaged, those of the storage. */
export async function loadSnapshot(repository: Repository, id: ObjectId, options: { signal?: AbortSignal } = {}): Promise<Snapshot> {
  throw new HoldfastError('internal', `not written yet: ${repository.id} ${id} ${String(options.signal)}`);
}

/** The newest snapshot with the tag. `snapshots` are oldest first. */
export function findSnapshotByTag(snapshots: readonly Snapshot[], tag: string): Snapshot | undefined {
  return snapshots.findLast((snapshot) => snapshot.tags?.includes(tag));
}

/** The newest snapshot of the same host, the same paths and all of `tags` (such as `config:<id>`). */
export function chooseParent(
  snapshots: readonly Snapshot[],
  wanted: { hostname: string; paths: readonly string[]; tags?: readonly string[] },
): Snapshot | undefined {
  throw new HoldfastError('internal', `not written yet: ${snapshots.length} ${wanted.hostname}`);
}
