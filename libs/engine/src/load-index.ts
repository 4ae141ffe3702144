import { isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';
import { decodeIndexFile, type IndexFile } from '@holdfast/restic-format/index-file';
import { idOfName, indexName, indexPrefix } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { createBlobIndex, type BlobIndex } from './blob-index.ts';
import { loadNamedFile } from './named-file.ts';
import { withSignal, type Repository } from './repository.ts';
import { forEachConcurrently } from './slots.ts';

export interface LoadedIndex {
  readonly index: BlobIndex;
  readonly files: readonly LoadedIndexFile[];
}

export interface LoadedIndexFile {
  readonly id: ObjectId;
  readonly packIds: readonly ObjectId[];
  readonly blobCount: number;
}

/** Enough to hide a network's latency, few enough for the files (up to 8 MiB each) to fit in memory. */
const concurrentLoads = 4;

/**
 * Reads all index files. List the snapshots before: what they need is then indexed, whatever others write meanwhile.
 * A damaged file goes to `onDamaged`; without it, it is thrown. Errors: repository_damaged, those of the storage.
 */
export async function loadIndex(
  repository: Repository,
  options: { signal?: AbortSignal; onDamaged?: (id: ObjectId, error: HoldfastError) => void } = {},
): Promise<LoadedIndex> {
  const ids: ObjectId[] = [];
  for await (const { name } of repository.storage.list(indexPrefix, withSignal(options.signal))) {
    const id = idOfName(name);
    if (id !== null) ids.push(id);
  }
  const decoded = new Map<ObjectId, IndexFile>();
  await forEachConcurrently(ids.toSorted(), concurrentLoads, async (id) => {
    try {
      decoded.set(id, decodeIndexFile(await loadNamedFile(repository, indexName(id), id, options.signal), repository.cipher));
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged') || options.onDamaged === undefined) throw error;
      options.onDamaged(id, error);
    }
  });

  const superseded = new Set([...decoded.values()].flatMap((file) => file.supersedes ?? []));
  const index = createBlobIndex();
  const files: LoadedIndexFile[] = [];
  for (const [id, { packs }] of decoded) {
    decoded.delete(id);
    let blobCount = 0;
    for (const pack of superseded.has(id) ? [] : packs) {
      index.add(pack);
      blobCount += pack.blobs.length;
    }
    files.push({ id, packIds: packs.map((pack) => pack.id), blobCount });
  }
  return { index, files };
}
