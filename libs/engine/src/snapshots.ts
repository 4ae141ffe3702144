import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { idOfName, snapshotName, snapshotsPrefix } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { decodeSnapshotFile, type Snapshot as SnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { loadNamedFile } from './named-file.ts';
import { withSignal, type Repository } from './repository.ts';
import { forEachConcurrently } from './slots.ts';

/** A snapshot file with its name. */
export interface Snapshot extends SnapshotFile {
  readonly id: ObjectId;
}

/** Small files: enough at once to hide a network's latency. */
const concurrentLoads = 16;

/**
 * All snapshots, oldest first. One that cannot be read is left out and told to `onUnreadable`; without that it is an error, as for
 * whoever is about to remove what no snapshot needs. Errors: repository_damaged, those of the storage.
 */
export async function listSnapshots(
  repository: Repository,
  options: { signal?: AbortSignal; onUnreadable?: (id: ObjectId, error: HoldfastError) => void } = {},
): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const known = repository.knownSnapshots;
  const ids = await listSnapshotIds(repository, options.signal);
  known?.keepOnly(new Set(ids));
  await forEachConcurrently(ids, concurrentLoads, async (id) => {
    try {
      const snapshot = known?.get(id) ?? (await loadSnapshot(repository, id, options));
      known?.add(snapshot);
      snapshots.push(snapshot);
    } catch (error) {
      if (isHoldfastError(error, 'snapshot_missing')) return; // forgotten since it was listed
      const isUnreadable = isHoldfastError(error, 'repository_damaged') || isHoldfastError(error, 'repository_unsupported');
      if (!isUnreadable || options.onUnreadable === undefined) throw error;
      options.onUnreadable(id, error);
    }
  });
  return snapshots.toSorted(compareSnapshots);
}

/** The names in `snapshots/`, read or not, in no order. */
export async function listSnapshotIds(repository: Repository, signal?: AbortSignal): Promise<ObjectId[]> {
  const ids: ObjectId[] = [];
  for await (const { name } of repository.storage.list(snapshotsPrefix, withSignal(signal))) {
    const id = idOfName(name);
    if (id !== null) ids.push(id);
  }
  return ids;
}

/** Errors: snapshot_missing, repository_damaged, those of the storage. */
export async function loadSnapshot(repository: Repository, id: ObjectId, options: { signal?: AbortSignal } = {}): Promise<Snapshot> {
  try {
    const bytes = await loadNamedFile(repository, snapshotName(id), id, options.signal);
    return { ...decodeSnapshotFile(bytes, repository.cipher), id };
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_missing')) throw error;
    throw new HoldfastError('snapshot_missing', `snapshot ${id} is not in ${repository.storage.location}`, { cause: error });
  }
}

/** The newest snapshot with the tag. `snapshots` are oldest first. */
export function findSnapshotByTag(snapshots: readonly Snapshot[], tag: string): Snapshot | undefined {
  return snapshots.findLast((snapshot) => snapshot.tags?.includes(tag));
}

/** The newest snapshot of the same host, the same paths and all of `tags` (such as `config:<id>`). `snapshots` are oldest first. */
export function chooseParent(
  snapshots: readonly Snapshot[],
  wanted: { hostname: string; paths: readonly string[]; tags?: readonly string[] },
): Snapshot | undefined {
  const paths = pathsKey(wanted.paths);
  return snapshots.findLast(
    (snapshot) =>
      snapshot.hostname === wanted.hostname &&
      pathsKey(snapshot.paths) === paths &&
      (wanted.tags ?? []).every((tag) => snapshot.tags?.includes(tag)),
  );
}

/** One text for the same set of paths in any order. */
function pathsKey(paths: readonly string[]): string {
  return paths.toSorted().join('\0');
}

function compareSnapshots(a: Snapshot, b: Snapshot): number {
  if (a.timeNs !== b.timeNs) return a.timeNs < b.timeNs ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
