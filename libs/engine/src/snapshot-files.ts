import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import { loadIndex } from './load-index.ts';
import type { Repository } from './repository.ts';
import { loadSnapshot } from './snapshots.ts';

/**
 * The files of a snapshot, read in order as streams: for a recovery into something that is no folder, such as a database. Each blob is
 * checked against its hash before it is given.
 */
export interface SnapshotFiles {
  /** The names in a folder. Code: path_not_found. */
  list(path: string): Promise<readonly SnapshotFileFacts[]>;
  /** The bytes of a file from `fromByte` on. Codes: path_not_found, repository_damaged, those of the storage. */
  read(path: string, fromByte?: number): AsyncGenerator<Uint8Array, void, undefined>;
}

export interface SnapshotFileFacts {
  readonly name: string;
  readonly type: TreeNode['type'];
  readonly sizeBytes: number;
}

export interface SnapshotFilesOptions extends LockOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  readonly lock?: Lock;
}

/** Gives the files to `use`, under a shared lock that is held until it returns. Codes: snapshot_missing, repository_locked. */
export async function withSnapshotFiles<T>(
  options: SnapshotFilesOptions,
  use: (files: SnapshotFiles, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { repository, snapshotId } = options;
  const prepare = async (signal: AbortSignal) => ({
    snapshot: await loadSnapshot(repository, snapshotId, { signal }),
    index: (await loadIndex(repository, { signal })).index,
  });
  return await withSharedLock(options, prepare, ({ snapshot, index }, signal) => {
    return use(new OpenedSnapshot(index, createBlobLoader(repository, index), snapshot.tree, signal), signal);
  });
}

/** Blobs on their way ahead of the one that is given: hides the storage's latency, at a few MiB a file. */
const blobsAhead = 2;

class OpenedSnapshot implements SnapshotFiles {
  readonly #index: BlobIndex;
  readonly #loader: BlobLoader;
  readonly #treeId: ObjectId;
  readonly #signal: AbortSignal;
  /** A folder of many files is asked for once for each. */
  readonly #folders = new Map<string, Promise<ReadonlyMap<string, TreeNode>>>();

  constructor(index: BlobIndex, loader: BlobLoader, treeId: ObjectId, signal: AbortSignal) {
    this.#index = index;
    this.#loader = loader;
    this.#treeId = treeId;
    this.#signal = signal;
  }

  async list(path: string): Promise<readonly SnapshotFileFacts[]> {
    const nodes = await this.#folder(path);
    return [...nodes.values()].map(({ name, type, sizeBytes }) => ({ name, type, sizeBytes: sizeBytes ?? 0 }));
  }

  async *read(path: string, fromByte = 0): AsyncGenerator<Uint8Array, void, undefined> {
    const at = path.lastIndexOf('/');
    const node = (await this.#folder(path.slice(0, at))).get(path.slice(at + 1));
    if (node?.type !== 'file' || node.content === null) throw missing(path);
    let skipBytes = fromByte;
    for await (const blob of this.#blobs(node.content)) {
      const skipped = Math.min(skipBytes, blob.length);
      skipBytes -= skipped;
      if (skipped < blob.length) yield blob.subarray(skipped);
    }
  }

  async *#blobs(ids: readonly ObjectId[]): AsyncGenerator<Uint8Array, void, undefined> {
    const ahead: Promise<Uint8Array>[] = [];
    let next = 0;
    for (let given = 0; given < ids.length; given++) {
      for (; next < ids.length && next <= given + blobsAhead; next++) {
        const id = ids[next] ?? '';
        if (this.#index.lookup('data', id) === null) throw new HoldfastError('repository_damaged', `data blob ${id} is in no index`);
        const loading = this.#loader.load('data', id, this.#signal);
        // Heard of when its turn comes; if it does not come, nobody needs it.
        loading.catch(() => undefined);
        ahead.push(loading);
      }
      const blob = await ahead.shift();
      this.#signal.throwIfAborted();
      if (blob !== undefined) yield blob;
    }
  }

  #folder(path: string): Promise<ReadonlyMap<string, TreeNode>> {
    const known = this.#folders.get(path) ?? this.#loadFolder(path);
    this.#folders.set(path, known);
    return known;
  }

  async #loadFolder(path: string): Promise<ReadonlyMap<string, TreeNode>> {
    const at = path.lastIndexOf('/');
    const isTop = path === '' || path === '/';
    const treeId = isTop ? this.#treeId : (await this.#folder(path.slice(0, at))).get(path.slice(at + 1))?.subtree;
    if (treeId === undefined) throw missing(path);
    return new Map((await this.#loader.loadTree(treeId, this.#signal)).map((node) => [node.name, node]));
  }
}

function missing(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `the snapshot has no ${path}`);
}
