import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Target, TargetNode } from '@holdfast/sources/target';
import type { BlobIndex, BlobLocation } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { PathSelection } from './path-selection.ts';
import type { Repository } from './repository.ts';
import { RestoreBatch } from './restore-batch.ts';
import { RestoreFile } from './restore-file.ts';
import { plainLengthOf } from './sealed-blob.ts';
import { decodeTargetNode, joinPath } from './source-node.ts';

export interface RestoreWalkOptions {
  readonly repository: Repository;
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly target: Target;
  readonly selection: PathSelection;
  readonly signal: AbortSignal;
  readonly onDone: (kind: 'file' | 'directory' | 'other' | 'hard_link') => void;
  readonly onBytes: (bytes: number) => void;
  readonly onFailed: (path: string, reason: string) => void;
}

/** A folder is finished (its times set) when nothing in it is on its way any more. */
interface Folder {
  readonly path: string;
  readonly node: TargetNode;
  readonly parent: Folder | null;
  pending: number;
}

/** The first name of a file with several; the others are linked to it once it is there. */
interface LinkedFile {
  readonly path: string;
  state: 'pending' | 'whole' | 'failed';
  readonly waiting: { readonly path: string; readonly folder: Folder | null }[];
}

/** Blobs that are collected before they are read: enough for neighbours in a pack to be read together, and a few MB of memory. */
const maxBatchBlobs = 20_000;
/** Files of several blobs that may be open at once; the usual limit of descriptors is 1024. */
const maxOpenFiles = 128;

export class RestoreWalk {
  readonly #options: RestoreWalkOptions;
  #batch = new RestoreBatch();
  readonly #pendingFiles = new Set<RestoreFile>();
  /** Of several blobs, since the last batch was run. */
  #openFileCount = 0;
  readonly #linked = new Map<string, LinkedFile>();

  constructor(options: RestoreWalkOptions) {
    this.#options = options;
  }

  async run(treeId: ObjectId): Promise<void> {
    try {
      await this.#walk(await this.#options.loader.loadTree(treeId, this.#options.signal), '/', null);
      await this.#runBatch();
    } finally {
      await Promise.allSettled([...this.#pendingFiles].map((file) => file.abandon()));
    }
  }

  async #walk(nodes: readonly TreeNode[], path: string, folder: Folder | null): Promise<void> {
    for (const node of nodes) {
      this.#options.signal.throwIfAborted();
      const nodePath = joinPath(path, node.name);
      const part = this.#options.selection.partOf(nodePath);
      if (part === 'none' || (part === 'through' && node.type !== 'dir')) continue;
      const targetNode = decodeTargetNode(node);
      if (targetNode === undefined) this.#options.onFailed(nodePath, `a node of type ${node.type} cannot be restored`);
      else if (node.type === 'dir') await this.#restoreFolder(nodePath, node, targetNode, folder);
      else if (node.type === 'file') await this.#restoreFile(nodePath, node, targetNode, folder);
      else await this.#restoreOther(nodePath, targetNode);
    }
  }

  async #restoreFolder(path: string, node: TreeNode, targetNode: TargetNode, parent: Folder | null): Promise<void> {
    const { target, loader, signal, onFailed } = this.#options;
    await target.makeDirectory(path, targetNode);
    const folder: Folder = { path, node: targetNode, parent, pending: 1 };
    if (parent !== null) parent.pending++;
    try {
      const nodes = node.subtree === undefined ? [] : await loader.loadTree(node.subtree, signal);
      await this.#walk(nodes, path, folder);
    } catch (error) {
      if (!isDamage(error)) throw error;
      onFailed(path, error.message);
    }
    await this.#release(folder);
  }

  /** One thing less on its way in the folder. */
  async #release(folder: Folder | null): Promise<void> {
    for (let done = folder; done !== null; done = done.parent) {
      done.pending--;
      if (done.pending > 0) return;
      await this.#options.target.finishDirectory(done.path, done.node);
      this.#options.onDone('directory');
    }
  }

  async #restoreOther(path: string, node: TargetNode): Promise<void> {
    await this.#options.target.makeNode(path, node);
    this.#options.onDone('other');
  }

  async #restoreFile(path: string, node: TreeNode, targetNode: TargetNode, folder: Folder | null): Promise<void> {
    const { target, index, onFailed } = this.#options;
    if (folder !== null) folder.pending++;
    const linkKey = (node.linkCount ?? 1n) > 1n ? `${node.deviceId ?? 0n} ${node.inode ?? 0n}` : null;
    if (linkKey !== null && (await this.#linkTo(linkKey, path, folder))) return;

    const content = node.content ?? [];
    const blobs: BlobLocation[] = [];
    for (const id of content) {
      const blob = index.lookup('data', id);
      if (blob !== null) {
        blobs.push(blob);
        continue;
      }
      onFailed(path, `data blob ${id} is in no index`);
      await this.#settleLink(linkKey, 'failed');
      return await this.#release(folder);
    }
    const file = new RestoreFile(target, path, targetNode, blobs.length, (done) => this.#finishFile(done, linkKey, folder));
    this.#pendingFiles.add(file);
    if (blobs.length === 0) await file.writeEmpty();
    else await this.#collect(file, blobs);
  }

  async #collect(file: RestoreFile, blobs: readonly BlobLocation[]): Promise<void> {
    let positionBytes = 0;
    for (const blob of blobs) {
      this.#batch.add(blob, file, positionBytes);
      positionBytes += plainLengthOf(blob, overheadBytes);
      if (this.#batch.size >= maxBatchBlobs) await this.#runBatch();
    }
    if (blobs.length === 1) return;
    this.#openFileCount++;
    if (this.#openFileCount >= maxOpenFiles) await this.#runBatch();
  }

  async #runBatch(): Promise<void> {
    const batch = this.#batch;
    this.#batch = new RestoreBatch();
    this.#openFileCount = 0;
    await batch.run(this.#options.repository, this.#options.signal, this.#options.onBytes);
  }

  async #finishFile(file: RestoreFile, linkKey: string | null, folder: Folder | null): Promise<void> {
    this.#pendingFiles.delete(file);
    if (file.failure === undefined) this.#options.onDone('file');
    else this.#options.onFailed(file.path, file.failure);
    await this.#settleLink(linkKey, file.failure === undefined ? 'whole' : 'failed');
    await this.#release(folder);
  }

  /** True when the path is a further name of a file met before: it is linked now, or when that file is there. */
  async #linkTo(linkKey: string, path: string, folder: Folder | null): Promise<boolean> {
    const first = this.#linked.get(linkKey);
    if (first === undefined) {
      this.#linked.set(linkKey, { path, state: 'pending', waiting: [] });
      return false;
    }
    if (first.state === 'pending') first.waiting.push({ path, folder });
    else await this.#makeLink(first, path, folder);
    return true;
  }

  async #settleLink(linkKey: string | null, state: 'whole' | 'failed'): Promise<void> {
    const first = linkKey === null ? undefined : this.#linked.get(linkKey);
    if (first === undefined) return;
    first.state = state;
    for (const { path, folder } of first.waiting.splice(0)) await this.#makeLink(first, path, folder);
  }

  async #makeLink(first: LinkedFile, path: string, folder: Folder | null): Promise<void> {
    if (first.state === 'whole') {
      await this.#options.target.makeHardLink(path, first.path);
      this.#options.onDone('hard_link');
    } else {
      this.#options.onFailed(path, `it is a further name of ${first.path}, which could not be restored`);
    }
    await this.#release(folder);
  }
}
