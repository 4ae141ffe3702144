import { errnoCode } from '@holdfast/errors/errno-code';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Source } from '@holdfast/sources/source';
import { listIndexFiles } from '../load-index.ts';
import type { Repository } from '../repository.ts';
import type { Snapshot } from '../snapshots.ts';
import { compareSource } from './compare-source.ts';
import type { KnownFolder } from './known-folder.ts';
import type { RecordedFolder } from './recorded-folder.ts';
import { loadStatCache, saveStatCache, statCacheKey } from './stat-cache.ts';

export interface StatCacheOptions {
  readonly repository: Repository;
  readonly source: Source;
  readonly hostname: string;
  readonly parent?: Snapshot;
  readonly statCacheFolder?: string | undefined;
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
export async function compareWithParent(options: StatCacheOptions, signal: AbortSignal): Promise<CachedParent | undefined> {
  const { repository, source, hostname, parent, statCacheFolder } = options;
  const { records } = source;
  if (records === undefined || parent === undefined || statCacheFolder === undefined) return undefined;
  const key = statCacheKey({ repositoryId: repository.id, hostname, rules: records.rules });
  const data = await loadStatCache(statCacheFolder, { key, treeId: parent.tree, records });
  if (data === null) return undefined;
  const there = new Set((await listIndexFiles(repository, signal)).ids);
  if (!data.indexIds.every((id) => there.has(id))) return undefined;
  const top = await compareSource(records, data.folders, signal);
  return top && { top, indexIds: data.indexIds };
}

/**
 * Writes the cache for the next backup, under the lock that the backup was made under: so all blobs of its snapshot are named by the index
 * files that are there now. A cache that cannot be written is no failure of the backup; `onWarning` hears of it.
 */
export async function recordForNext(
  options: StatCacheOptions,
  made: { treeId: ObjectId; recorded: RecordedFolder; known: CachedParent | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { repository, source, hostname, statCacheFolder, onWarning = () => {} } = options;
  const { records } = source;
  if (records === undefined || statCacheFolder === undefined) return;
  const folders = made.recorded.flatten();
  if (folders === null) return;
  const { ids } = await listIndexFiles(repository, signal);
  const there = new Set(ids);
  if (made.known?.indexIds.every((id) => there.has(id)) === false) return;
  const key = statCacheKey({ repositoryId: repository.id, hostname, rules: records.rules });
  try {
    await saveStatCache(statCacheFolder, { key, treeId: made.treeId, indexIds: ids }, folders, records);
  } catch (error) {
    if (errnoCode(error) === undefined) throw error;
    onWarning(`the stat cache in ${statCacheFolder} could not be written: the next backup looks at everything again`, error);
  }
}
