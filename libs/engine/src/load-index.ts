import { isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Cipher } from '@holdfast/restic-format/cipher';
import { decodeIndexColumns } from '@holdfast/restic-format/index-file';
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

export interface LoadIndexOptions {
  readonly signal?: AbortSignal;
  readonly onDamaged?: (id: ObjectId, error: HoldfastError) => void;
}

/**
 * What an entry takes in a file at the least: its id does not compress. Room is made for as many as there can be, since memory that is
 * not written to costs nothing, but growing to it would take the memory twice.
 */
const leastEntryBytes = 44;

/** Enough to hide a network's latency, few enough for the files (up to 8 MiB each, decoded somewhat less) to fit in memory. */
const concurrentLoads = 4;

/** The index for reading and adding to: the one that is kept and brought up to date, or a new one. Call it under the lock. Errors: as loadIndex. */
export async function openIndex(repository: Repository, options: { signal?: AbortSignal } = {}): Promise<BlobIndex> {
  if (repository.indexMirror !== undefined) return await repository.indexMirror.refresh(repository, options.signal);
  return (await loadIndex(repository, options)).index;
}

/**
 * Reads all index files. List the snapshots before: what they need is then indexed, whatever others write meanwhile.
 * A damaged file goes to `onDamaged`; without it, it is thrown. Errors: repository_damaged, those of the storage.
 */
export async function loadIndex(repository: Repository, options: LoadIndexOptions = {}): Promise<LoadedIndex> {
  const listed = await listIndexFiles(repository, options.signal);
  const reported = new Set<ObjectId>();
  const onDamaged =
    options.onDamaged &&
    ((id: ObjectId, error: HoldfastError): void => {
      if (!reported.has(id)) options.onDamaged?.(id, error);
      reported.add(id);
    });
  for (let superseded = new Set<ObjectId>(); ;) {
    const before = superseded.size;
    const loaded = await loadAllBut(superseded, { ...options, ...(onDamaged && { onDamaged }) }, repository, listed);
    // Only old programs wrote files that stand for others, and only such repositories are read twice.
    superseded = loaded.superseded;
    if (superseded.size === before) return loaded;
  }
}

async function loadAllBut(
  known: ReadonlySet<ObjectId>,
  options: LoadIndexOptions,
  repository: Repository,
  listed: ListedIndexFiles,
): Promise<LoadedIndex & { superseded: Set<ObjectId> }> {
  const index = createBlobIndex();
  index.reserve(listed.maxEntries);
  const files: LoadedIndexFile[] = [];
  const superseded = new Set<ObjectId>();
  await loadIndexFiles(repository, listed.ids, options, (id, file) => {
    for (const other of file.supersedes) superseded.add(other);
    const isCounted = !known.has(id);
    if (isCounted) file.addTo(index);
    files.push({ id, packIds: file.packIds, blobCount: isCounted ? file.blobCount : 0 });
  });
  return { index, files, superseded };
}

/** Reads the files, a few at a time, and gives each to `onFile` at once: decoded, it is larger than what is kept of it. */
export async function loadIndexFiles(
  repository: Repository,
  ids: readonly ObjectId[],
  { signal, onDamaged }: LoadIndexOptions,
  onFile: (id: ObjectId, file: ReadIndexFile) => void,
): Promise<void> {
  await forEachConcurrently(ids, concurrentLoads, async (id) => {
    signal?.throwIfAborted();
    try {
      onFile(id, readIndexFile(await loadNamedFile(repository, indexName(id), id, signal), repository.cipher));
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged') || onDamaged === undefined) throw error;
      onDamaged(id, error);
    }
  });
}

/** An index file, however it was read. */
export interface ReadIndexFile {
  readonly packIds: readonly ObjectId[];
  readonly blobCount: number;
  readonly supersedes: readonly ObjectId[];
  addTo(index: BlobIndex): void;
}

function readIndexFile(bytes: Uint8Array, cipher: Cipher): ReadIndexFile {
  const decoded = decodeIndexColumns(bytes, cipher);
  if ('columns' in decoded) {
    const { columns } = decoded;
    const { packIds, packStarts } = columns;
    return { packIds, blobCount: packStarts.at(-1) ?? 0, supersedes: [], addTo: (index) => index.addColumns(columns) };
  }
  const { packs, supersedes = [] } = decoded.file;
  return {
    packIds: packs.map((pack) => pack.id),
    blobCount: packs.reduce((sum, pack) => sum + pack.blobs.length, 0),
    supersedes,
    addTo(index) {
      for (const pack of packs) index.add(pack);
    },
  };
}

export interface ListedIndexFiles {
  /** In order. */
  readonly ids: readonly ObjectId[];
  /** By the sizes of the files. */
  readonly maxEntries: number;
}

/** The names in `index/`. */
export async function listIndexFiles(repository: Repository, signal?: AbortSignal): Promise<ListedIndexFiles> {
  const ids: ObjectId[] = [];
  let totalBytes = 0;
  for await (const { name, sizeBytes } of repository.storage.list(indexPrefix, withSignal(signal))) {
    const id = idOfName(name);
    if (id === null) continue;
    ids.push(id);
    totalBytes += sizeBytes;
  }
  return { ids: ids.toSorted(), maxEntries: Math.ceil(totalBytes / leastEntryBytes) };
}
