import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeNodeText, joinTree, type NamedNodeText } from '@holdfast/restic-format/tree-text';
import type { SkippedEntry, Source, SourceEntry, SourceNode } from '@holdfast/sources/source';
import { setImmediate } from 'node:timers/promises';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import type { BlobSink } from './blob-sink.ts';
import { FilePlace, FileRuns, withAttributesOf } from './file-runs.ts';
import type { FileStorer } from './file-storer.ts';
import { loadParentFolder, unchangedContent, type ParentFolder } from './parent.ts';
import { Slots } from './slots.ts';
import { encodeSourceNode, joinPath } from './source-node.ts';

export interface ArchiveWalkOptions {
  readonly source: Source;
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly storer: FileStorer;
  readonly sink: BlobSink;
  /** Files in hand at once. */
  readonly concurrentFiles: number;
  readonly parentTreeId?: ObjectId;
  readonly signal: AbortSignal;
  readonly onFile: (kind: 'new' | 'changed' | 'unmodified', sizeBytes: number) => void;
  readonly onDirectory: (kind: 'new' | 'changed' | 'unmodified') => void;
  readonly onBytes: (bytes: number) => void;
  readonly onSkipped: (skipped: SkippedEntry) => void;
  readonly onWarning: (message: string) => void;
}

/** Folders that are listed but wait for their files: bounds the memory of the walk, which runs ahead of the reading. */
const maxUnfinishedFolders = 64;

/** An abort is to be seen within a second, and threads are to be fed; a breath costs microseconds. */
const breathIntervalMs = 10;

interface ListedFolder {
  readonly entries: readonly SourceEntry[];
  readonly parent: ParentFolder;
}

type PendingNode = NamedNodeText | null | FilePlace | Promise<NamedNodeText | null>;

/** Walks the source, stores its files and trees, and returns the id of the top tree. */
export async function walkSource(options: ArchiveWalkOptions): Promise<ObjectId> {
  const walk = new ArchiveWalk(options);
  return await walk.run();
}

/** Only what is a folder in both, or has to be looked at more closely, is decoded. */
function beforeOf(parent: ParentFolder, node: SourceNode): TreeNode | undefined {
  return node.type === 'file' || node.type === 'dir' ? parent.get(node.name) : undefined;
}

class ArchiveWalk {
  readonly #options: ArchiveWalkOptions;
  readonly #runs: FileRuns;
  readonly #folderSlots = new Slots(maxUnfinishedFolders);
  /** Ends the walk and its tasks together, at the first failure of any. */
  readonly #failed = new AbortController();
  readonly #signal: AbortSignal;
  readonly #tasks = new Set<Promise<unknown>>();
  #breathedAtMs = performance.now();

  constructor(options: ArchiveWalkOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#failed.signal]);
    this.#runs = new FileRuns({ ...options, signal: this.#signal, track: (task) => this.#track(task) });
  }

  async run(): Promise<ObjectId> {
    try {
      const { treeId } = await this.#walkFolder('/', await this.#list('/', this.#options.parentTreeId));
      return await treeId;
    } catch (error) {
      this.#failed.abort(error);
      throw this.#signal.reason;
    } finally {
      // Nothing of the source or the sink is touched once this has returned.
      await Promise.allSettled(this.#tasks);
    }
  }

  async #list(path: string, parentTreeId: ObjectId | undefined): Promise<ListedFolder> {
    const { source, loader, onWarning } = this.#options;
    await this.#breathe();
    const onDamaged = (reason: string) => onWarning(`the parent's ${path} is not used: ${reason}`);
    const parent = await loadParentFolder(loader, parentTreeId, { signal: this.#signal, onDamaged });
    const attributesBefore = (name: string, inode: bigint, changedNs: bigint) => parent.attributes(name, inode, changedNs);
    return { parent, entries: await source.readDirectory(path, { signal: this.#signal, attributesBefore, leavesFileAttributes: true }) };
  }

  /** Sources that block the thread leave no room for timers, messages and an abort by themselves. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathedAtMs < breathIntervalMs) return;
    await setImmediate();
    this.#breathedAtMs = performance.now();
  }

  /** Resolves when the folder and all below have been listed; `treeId` does when they are stored. */
  async #walkFolder(path: string, { entries, parent }: ListedFolder): Promise<{ treeId: Promise<ObjectId> }> {
    const { onSkipped } = this.#options;
    const nodes: PendingNode[] = [];
    this.#signal.throwIfAborted();
    for (const entry of entries) {
      if (entry.kind === 'skipped') {
        onSkipped(entry.skipped);
        continue;
      }
      const same = this.#sameFile(entry.node, parent);
      if (same !== null) {
        nodes.push(same);
        continue;
      }
      const before = beforeOf(parent, entry.node);
      if (entry.node.type === 'file') {
        nodes.push(this.#beginFile(path, entry.node, before));
        if (this.#runs.isFull) await this.#sendRuns();
      } else if (entry.node.type === 'dir') {
        const pending = await this.#beginFolder(joinPath(path, entry.node.name), entry.node, before);
        if (pending !== null) nodes.push(pending.node);
      } else nodes.push(encodeNodeText(encodeSourceNode(entry.node)));
    }
    await this.#runs.send();
    // Taken when everything below is listed: who waits here waits only for folders that can finish without it.
    await this.#folderSlots.acquire();
    return { treeId: this.#track(this.#saveTree(nodes, parent).finally(() => this.#folderSlots.release())) };
  }

  /** The text of a file's node that the parent has, when its file is certainly the same: nothing is encoded then. */
  #sameFile(node: SourceNode, parent: ParentFolder): NamedNodeText | null {
    const { index, onFile, onBytes } = this.#options;
    const text = parent.sameFileText(node, index);
    if (text === null) return null;
    onFile('unmodified', node.sizeBytes);
    onBytes(node.sizeBytes);
    return { name: node.name, text };
  }

  /** Not to be waited for: most folders hold little but files. */
  #beginFile(folder: string, node: SourceNode, before: TreeNode | undefined): PendingNode {
    const { index, onFile, onBytes } = this.#options;
    const content = unchangedContent(node, before, index);
    if (content !== null) {
      onFile('unmodified', node.sizeBytes);
      onBytes(node.sizeBytes);
      // The change time is that of the parent, and so are the attributes.
      const same = node.attributesUnread === true ? withAttributesOf(node, before?.extendedAttributes) : node;
      return encodeNodeText(encodeSourceNode(same, { content }));
    }
    return this.#runs.add(folder, node, before);
  }

  /** Threads that store wait for what was gathered, and this may have to wait for them. */
  async #sendRuns(): Promise<void> {
    await this.#runs.send();
    this.#signal.throwIfAborted();
  }

  /** Lists a folder and begins all below: `node` is in a wrapper so that it is not waited for here. Null: left out. */
  async #beginFolder(path: string, node: SourceNode, before: TreeNode | undefined): Promise<{ node: PendingNode } | null> {
    let listed: ListedFolder;
    await this.#sendRuns();
    try {
      listed = await this.#list(path, before?.subtree);
    } catch (error) {
      if (!isHoldfastError(error, 'path_not_found') && !isHoldfastError(error, 'path_not_readable')) throw error;
      this.#options.onSkipped({ path, reason: error.message });
      return null;
    }
    const { treeId } = await this.#walkFolder(path, listed);
    return { node: this.#track(treeId.then((subtree) => this.#folderNode(node, subtree, before))) };
  }

  #folderNode(node: SourceNode, subtree: ObjectId, before: TreeNode | undefined): NamedNodeText {
    const isSame = before?.subtree === subtree && before.modifiedNs === node.modifiedNs && before.changedNs === node.changedNs;
    this.#options.onDirectory(before?.type !== 'dir' ? 'new' : isSame ? 'unmodified' : 'changed');
    return encodeNodeText(encodeSourceNode(node, { subtree }));
  }

  async #saveTree(nodes: readonly PendingNode[], parent: ParentFolder): Promise<ObjectId> {
    const whole: NamedNodeText[] = [];
    for (const pending of nodes) {
      if (pending instanceof FilePlace && !pending.run.isDone) await pending.run.done;
      const node = pending instanceof Promise ? await pending : pending instanceof FilePlace ? pending.stored : pending;
      if (node !== null) whole.push(node);
    }
    const isSame = whole.length === parent.nodeCount && whole.every(({ name, text }) => parent.text(name) === text);
    if (isSame && parent.treeId !== undefined) return parent.treeId;
    return (await this.#options.sink.save('tree', joinTree(whole))).id;
  }

  /** Notes a task that runs beside the walk; its failure ends the walk. */
  #track<T>(promise: Promise<T>): Promise<T> {
    this.#tasks.add(promise);
    promise.then(
      () => this.#tasks.delete(promise),
      (error: unknown) => {
        this.#failed.abort(error);
        this.#tasks.delete(promise);
      },
    );
    return promise;
  }
}
