import { maxChunkBytes } from '@holdfast/restic-format/chunker';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import { permissionBitsOf } from '@holdfast/restic-format/file-mode';
import type { TreeNode } from '@holdfast/restic-format/node';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { SnapshotSummary } from '@holdfast/restic-format/snapshot-file';
import type { Source, SourceFile, SourceNode } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader, type BlobLoader } from './blob-loader.ts';
import { loadIndex } from './load-index.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { selectPaths, type PathSelection } from './path-selection.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { plainLengthOf } from './sealed-blob.ts';
import { loadSnapshot } from './snapshots.ts';
import { joinPath } from './source-node.ts';

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
  return await withLock({ ...options, exclusive: false }, async (signal) => {
    const { repository, snapshotId } = options;
    const snapshot = await loadSnapshot(repository, snapshotId, { signal });
    const { index } = await loadIndex(repository, { signal });
    const totals = options.select === undefined ? snapshot.summary : undefined;
    const comparison = new Comparison(options, index, createBlobLoader(repository, index), totals, signal);
    return await comparison.run(snapshot.tree);
  });
}

/** The list is for people; the count tells the rest. */
export const maxDifferencesListed = 1000;
/** What the system calls that set times may lose. */
const timePrecisionNs = 1000n;
/** One read of a restored file: the largest chunk there is. */
const bufferBytes = maxChunkBytes;

class Comparison {
  readonly #options: VerifyRestoredOptions;
  readonly #index: BlobIndex;
  readonly #loader: BlobLoader;
  readonly #selection: PathSelection;
  readonly #totals: SnapshotSummary | undefined;
  readonly #signal: AbortSignal;
  readonly #buffer = new Uint8Array(bufferBytes);
  readonly #differences: Difference[] = [];
  readonly #counts = { differenceCount: 0, filesCompared: 0, bytesCompared: 0 };

  constructor(
    options: VerifyRestoredOptions,
    index: BlobIndex,
    loader: BlobLoader,
    totals: SnapshotSummary | undefined,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#index = index;
    this.#loader = loader;
    this.#selection = selectPaths(options.select);
    this.#totals = totals;
    this.#signal = signal;
  }

  async run(treeId: ObjectId): Promise<VerifyRestoredResult> {
    await this.#compareFolder(treeId, '/');
    return { differences: this.#differences, ...this.#counts };
  }

  async #compareFolder(treeId: ObjectId, path: string): Promise<void> {
    const { source, restoredRoot } = this.#options;
    const restored = new Map<string, SourceNode>();
    const folder = path === '/' ? restoredRoot : restoredRoot + path;
    for (const entry of await source.readDirectory(folder, { signal: this.#signal })) {
      if (entry.kind === 'node') restored.set(entry.node.name, entry.node);
      else this.#add(entry.skipped.path, 'missing', `cannot be read: ${entry.skipped.reason}`);
    }
    for (const node of await this.#loader.loadTree(treeId, this.#signal)) {
      this.#signal.throwIfAborted();
      const nodePath = joinPath(path, node.name);
      const part = this.#selection.partOf(nodePath);
      if (part === 'none' || (part === 'through' && node.type !== 'dir')) continue;
      const found = restored.get(node.name);
      restored.delete(node.name);
      if (found === undefined) this.#add(nodePath, 'missing', `the ${node.type} is not there`);
      else await this.#compareNode(nodePath, node, found);
    }
    for (const [name, node] of restored) this.#add(joinPath(path, name), 'unexpected', `the snapshot has no such ${node.type}`);
  }

  async #compareNode(path: string, node: TreeNode, found: SourceNode): Promise<void> {
    if (node.type !== found.type) return this.#add(path, 'type', `is a ${found.type}, was a ${node.type}`);
    const mode = permissionBitsOf(node.mode);
    if (node.type !== 'symlink' && mode !== found.mode) this.#add(path, 'mode', `is ${octal(found.mode)}, was ${octal(mode)}`);
    const driftNs = node.modifiedNs - found.modifiedNs;
    if (driftNs > timePrecisionNs || driftNs < -timePrecisionNs) this.#add(path, 'modified_time', `is off by ${driftNs} ns`);
    if (node.type === 'symlink' && node.linkTarget !== found.linkTarget) {
      this.#add(path, 'link_target', `is ${found.linkTarget}, was ${node.linkTarget}`);
    }
    if (node.type === 'dir' && node.subtree !== undefined) await this.#compareFolder(node.subtree, path);
    if (node.type === 'file') await this.#compareFile(path, node, found);
  }

  async #compareFile(path: string, node: TreeNode, found: SourceNode): Promise<void> {
    const sizeBytes = node.sizeBytes ?? 0;
    if (sizeBytes !== found.sizeBytes) return this.#add(path, 'size', `has ${found.sizeBytes} bytes, had ${sizeBytes}`);
    const file = await this.#options.source.openFile(this.#options.restoredRoot + path);
    try {
      let positionBytes = 0;
      for (const id of node.content ?? []) {
        this.#signal.throwIfAborted();
        const blob = this.#index.lookup('data', id);
        if (blob === null) return this.#add(path, 'content', `cannot be compared: blob ${id} is in no index`);
        const part = await readFully(file, this.#buffer, positionBytes, plainLengthOf(blob, overheadBytes));
        if (hashOf(part) !== id) return this.#add(path, 'content', `differs in the ${part.length} bytes from ${positionBytes} on`);
        positionBytes += part.length;
        this.#counts.bytesCompared += part.length;
      }
    } finally {
      await file.close();
      this.#counts.filesCompared++;
      this.#report();
    }
  }

  #add(path: string, kind: Difference['kind'], detail: string): void {
    this.#counts.differenceCount++;
    if (this.#differences.length < maxDifferencesListed) this.#differences.push({ path, kind, detail });
  }

  #report(): void {
    const { filesCompared, bytesCompared } = this.#counts;
    this.#options.onProgress?.({
      phase: 'comparing',
      filesDone: filesCompared,
      filesTotal: this.#totals?.totalFilesProcessed ?? null,
      bytesDone: bytesCompared,
      bytesTotal: this.#totals?.totalBytesProcessed ?? null,
    });
  }
}

/** What the file has from `positionBytes` on, `lengthBytes` of it or less at its end. Valid until the next call with this buffer. */
async function readFully(file: SourceFile, buffer: Uint8Array, positionBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const into = lengthBytes <= buffer.length ? buffer.subarray(0, lengthBytes) : new Uint8Array(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const read = await file.read(into.subarray(filled), positionBytes + filled);
    if (read === 0) break;
    filled += read;
  }
  return into.subarray(0, filled);
}

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');
