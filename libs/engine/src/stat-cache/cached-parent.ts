import type { ObjectId } from '@holdfast/restic-format/object-id';
import { listIndexFiles } from '../load-index.ts';
import type { Repository } from '../repository.ts';
import type { Snapshot } from '../snapshots.ts';
import type { KnownFolder } from './known-folder.ts';
import type { RecordedFolder } from './recorded-folder.ts';
import type { StatCache } from './stat-cache.ts';

export interface CacheUseOptions {
  readonly repository: Repository;
  readonly parent?: Snapshot;
  readonly statCache?: StatCache | undefined;
  readonly onWarning?: (message: string, error: unknown) => void;
}

/** The parent as the stat cache knows it, compared with what the source is now. */
export interface CachedParent {
  readonly top: KnownFolder;
  /** Index files that name all of its blobs, and are there. */
  readonly indexIds: readonly ObjectId[];
}

/**
 * Compares the source with what the cache holds for the parent. Undefined when there is no cache that fits, or an index file has gone:
 * then somebody may have removed blobs of the parent, and each has to be looked up. Call it under the lock.
 */
export async function compareWithParent(options: CacheUseOptions, signal: AbortSignal): Promise<CachedParent | undefined> {
  const { repository, parent, statCache } = options;
  if (parent === undefined || statCache === undefined) return undefined;
  const [compared, listed] = await Promise.all([statCache.compare(signal), listIndexFiles(repository, signal)]);
  if (compared === null) return undefined;
  const { data, top } = compared;
  if (data.repositoryId !== repository.id || data.treeId !== parent.tree) return undefined;
  const there = new Set(listed.ids);
  return data.indexIds.every((id) => there.has(id)) ? { top, indexIds: data.indexIds } : undefined;
}

/**
 * Writes the cache for the next backup, under the lock that the backup was made under: so all blobs of its snapshot are named by the index
 * files that are there now. Never throws, for the snapshot is there: `onWarning` hears of what went wrong.
 */
export async function recordForNext(
  options: CacheUseOptions,
  made: { treeId: ObjectId; recorded: RecordedFolder; known: CachedParent | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { repository, statCache, onWarning = () => {} } = options;
  if (statCache === undefined) return;
  try {
    const folders = made.recorded.flatten();
    if (folders === null) return;
    const { ids } = await listIndexFiles(repository, signal);
    const there = new Set(ids);
    if (made.known?.indexIds.every((id) => there.has(id)) === false) return;
    const { saveStatCache } = await import('./save-stat-cache.ts');
    await saveStatCache(statCache, { repositoryId: repository.id, treeId: made.treeId, indexIds: ids }, folders);
  } catch (error) {
    onWarning(`the stat cache ${statCache.path} could not be written: the next backup looks at everything again`, error);
  }
}
