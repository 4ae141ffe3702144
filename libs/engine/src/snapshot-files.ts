import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { withSharedLock, type LockOptions } from './lock.ts';
import { indexOf, lockOf, type RepositoryReading } from './repository-reading.ts';
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
  /** A file to read here and there; null when there is none. Holds two blobs in memory. Codes: repository_damaged. */
  open(path: string): Promise<OpenSnapshotFile | null>;
}

export interface OpenSnapshotFile {
  readonly sizeBytes: number;
  /** Fills `buffer` from `positionBytes` on; gives how many bytes there were. Codes: those of `SnapshotFiles.read`. */
  read(buffer: Uint8Array, positionBytes: number): Promise<number>;
}

export interface SnapshotFileFacts {
  readonly name: string;
  readonly type: TreeNode['type'];
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
}

export interface SnapshotFilesOptions extends LockOptions {
  readonly repository: Repository;
  readonly snapshotId: ObjectId;
  /** Of a caller who reads several snapshots; by default a shared lock is taken and the index read for the call. */
  readonly reading?: RepositoryReading;
}

/** Gives the files to `use`, under a shared lock that is held until it returns. Codes: snapshot_missing, repository_locked. */
export async function withSnapshotFiles<T>(
  options: SnapshotFilesOptions,
  use: (files: SnapshotFiles, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { repository, snapshotId, reading } = options;
  const prepare = async (signal: AbortSignal) => ({
    snapshot: await loadSnapshot(repository, snapshotId, { signal }),
    index: await indexOf(repository, reading, signal),
  });
  return await withSharedLock({ ...options, ...lockOf(reading) }, prepare, ({ snapshot, index }, signal) => {
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
    return [...nodes.values()].map(({ name, type, sizeBytes, modifiedNs }) => ({ name, type, sizeBytes: sizeBytes ?? 0, modifiedNs }));
  }

  async open(path: string): Promise<OpenSnapshotFile | null> {
    const ids = await this.#contentOf(path);
    if (ids === null) return null;
    const lengths = ids.map((id) => plainLengthOf(this.#index, id));
    return new RandomAccess(ids, lengths, async (id) => {
      this.#signal.throwIfAborted();
      return await this.#loader.load('data', id, this.#signal);
    });
  }

  async *read(path: string, fromByte = 0): AsyncGenerator<Uint8Array, void, undefined> {
    const ids = await this.#contentOf(path);
    if (ids === null) throw missing(path);
    let skipBytes = fromByte;
    for await (const blob of this.#blobs(ids)) {
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

  /** Null when there is no such file. */
  async #contentOf(path: string): Promise<readonly ObjectId[] | null> {
    const at = path.lastIndexOf('/');
    const folder = await this.#folder(path.slice(0, at)).catch((error: unknown) => {
      if (isHoldfastError(error, 'path_not_found')) return null;
      throw error;
    });
    const node = folder?.get(path.slice(at + 1));
    return node?.type === 'file' ? node.content : null;
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

/** Blobs that one open file holds: reading goes forward, and back by little. */
const heldBlobCount = 2;

class RandomAccess implements OpenSnapshotFile {
  readonly sizeBytes: number;
  readonly #ids: readonly ObjectId[];
  /** Where each blob begins in the file. */
  readonly #starts: Float64Array;
  readonly #load: (id: ObjectId) => Promise<Uint8Array>;
  /** By the blob's number, the least recently read first. */
  readonly #held = new Map<number, Promise<Uint8Array>>();

  constructor(ids: readonly ObjectId[], lengths: readonly number[], load: (id: ObjectId) => Promise<Uint8Array>) {
    this.#ids = ids;
    this.#load = load;
    this.#starts = new Float64Array(ids.length);
    let sizeBytes = 0;
    for (const [nth, length] of lengths.entries()) {
      this.#starts[nth] = sizeBytes;
      sizeBytes += length;
    }
    this.sizeBytes = sizeBytes;
  }

  async read(buffer: Uint8Array, positionBytes: number): Promise<number> {
    let filled = 0;
    for (let nth = this.#blobAt(positionBytes); filled < buffer.length && nth < this.#ids.length; nth++) {
      const from = positionBytes + filled - (this.#starts[nth] ?? 0);
      const part = (await this.#blob(nth)).subarray(from, from + buffer.length - filled);
      buffer.set(part, filled);
      filled += part.length;
    }
    return filled;
  }

  /** The number of the blob with this byte; the count of blobs behind the end. */
  #blobAt(positionBytes: number): number {
    if (positionBytes >= this.sizeBytes) return this.#ids.length;
    let low = 0;
    for (let high = this.#starts.length - 1; low < high;) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] ?? 0) <= positionBytes) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #blob(nth: number): Promise<Uint8Array> {
    const blob = this.#held.get(nth) ?? this.#load(this.#ids[nth] ?? '');
    this.#held.delete(nth);
    this.#held.set(nth, blob);
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= heldBlobCount) break;
      this.#held.delete(oldest);
    }
    return blob;
  }
}

function plainLengthOf(index: BlobIndex, id: ObjectId): number {
  const blob = index.lookup('data', id);
  if (blob === null) throw new HoldfastError('repository_damaged', `data blob ${id} is in no index`);
  return blob.uncompressedLength ?? blob.length - overheadBytes;
}

function missing(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `the snapshot has no ${path}`);
}
