import { invariant } from '@holdfast/errors/invariant';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeNodeText, joinNodeTexts, replaceSubtree, type NamedNodeText } from '@holdfast/restic-format/tree-text';
import type { ContinuedFile, SkippedEntry, Source, SourceEntry, SourceNode } from '@holdfast/sources/source';
import { setImmediate } from 'node:timers/promises';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import type { BlobSink } from './blob-sink.ts';
import type { Clock } from './clock.ts';
import { knownContentOf, ParentNodes } from './continued-file.ts';
import { FilePlace, FileRuns, withAttributesOf, type FileBefore } from './file-runs.ts';
import type { FileStorer } from './file-storer.ts';
import { isUnlistable, listFolderForWalk, type KeptEntries, type KeptFolder, type ListedFolder } from './folder-lister.ts';
import { treeBytesOf, unchangedContent, type ParentFolder } from './parent.ts';
import { Slots } from './slots.ts';
import { encodeSourceNode, joinPath } from './source-node.ts';
import type { KnownFolder, Totals } from './stat-cache/known-folder.ts';
import type { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface ArchiveWalkOptions {
  readonly source: Source;
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly storer: FileStorer;
  readonly sink: BlobSink;
  /** Files in hand at once. */
  readonly concurrentFiles: number;
  readonly parentTreeId?: ObjectId;
  /** The top folder of the parent, compared with what is there now: what is the same is not looked at again. */
  readonly known?: KnownFolder | undefined;
  /** Present when what is seen is to be recorded for the next backup. */
  readonly recordClock?: Clock | undefined;
  readonly signal: AbortSignal;
  readonly onFile: (kind: 'new' | 'changed' | 'unmodified', sizeBytes: number) => void;
  readonly onDirectory: (kind: 'new' | 'changed' | 'unmodified') => void;
  /** Files and folders that are unmodified, many at once. */
  readonly onSame: (totals: Totals) => void;
  readonly onBytes: (bytes: number) => void;
  readonly onSkipped: (skipped: SkippedEntry) => void;
  readonly onWarning: (message: string) => void;
}

/** Folders that are listed but wait for their files: bounds the memory of the walk, which runs ahead of the reading. */
const maxUnfinishedFolders = 64;

/** An abort is to be seen within a second, and threads are to be fed; a breath costs microseconds. */
const breathIntervalMs = 10;

export interface WalkedSource {
  readonly treeId: ObjectId;
  readonly recorded: RecordedFolder | undefined;
}

type PendingNode = NamedNodeText | null | FilePlace | Promise<NamedNodeText | null>;

/** Walks the source, stores its files and trees, and returns the id of the top tree. */
export async function walkSource(options: ArchiveWalkOptions): Promise<WalkedSource> {
  const walk = new ArchiveWalk(options);
  return await walk.run();
}

/** A folder on the way. */
interface WalkedFolder {
  /** In the record of the folder that it is in. */
  readonly place: number | undefined;
  readonly known: KnownFolder | undefined;
  readonly treeBefore: ObjectId | undefined;
  /** Counts it and gives its node. */
  readonly onStored: (subtree: ObjectId) => NamedNodeText;
}

/** As treeBytesOf, from what is another than in the parent. */
function revisedTreeOf(nodes: readonly NamedNodeText[], parent: ParentFolder, { changed, folders }: KeptEntries): Uint8Array | null {
  const walked = folders.filter(({ folder }) => !folder.isSame).map(({ name }) => name);
  const texts = parent.replaced([...changed.keys(), ...walked], nodes);
  return texts === null ? null : joinNodeTexts(texts);
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
  #parentNodes: ParentNodes | undefined;
  #breathedAtMs = performance.now();

  constructor(options: ArchiveWalkOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#failed.signal]);
    this.#runs = new FileRuns({ ...options, signal: this.#signal, track: (task) => this.#track(task) });
  }

  async run(): Promise<WalkedSource> {
    try {
      const listed = await this.#list('/', this.#options.parentTreeId, this.#options.known);
      const { treeId } = await this.#walkFolder('/', listed);
      return { treeId: await treeId, recorded: listed.recorded };
    } catch (error) {
      this.#failed.abort(error);
      throw this.#signal.reason;
    } finally {
      // Nothing of the source or the sink is touched once this has returned.
      await Promise.allSettled(this.#tasks);
    }
  }

  async #list(path: string, parentTreeId: ObjectId | undefined, known: KnownFolder | undefined): Promise<ListedFolder> {
    await this.#breathe();
    return await listFolderForWalk(path, parentTreeId, known, { ...this.#options, signal: this.#signal });
  }

  /** Sources that block the thread leave no room for timers, messages and an abort by themselves. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathedAtMs < breathIntervalMs) return;
    await setImmediate();
    this.#breathedAtMs = performance.now();
  }

  /** Resolves when the folder and all below have been listed; `treeId` does when they are stored. */
  async #walkFolder(path: string, listed: ListedFolder): Promise<{ treeId: Promise<ObjectId> }> {
    const nodes: PendingNode[] = [];
    for (const entry of listed.entries) {
      this.#signal.throwIfAborted();
      const pending = await this.#beginEntry(path, entry, listed);
      if (pending !== null) nodes.push(pending.node);
    }
    if (listed.kept !== undefined) {
      // Its folders are counted one by one.
      this.#options.onSame({ ...listed.kept.totals, folders: 0 });
      for (const folder of listed.kept.folders) {
        const pending = await this.#beginKept(path, folder, listed);
        if (pending !== null) nodes.push(pending.node);
      }
    }
    await this.#runs.send();
    // Taken when everything below is listed: who waits here waits only for folders that can finish without it.
    await this.#folderSlots.acquire();
    return { treeId: this.#track(this.#saveTree(nodes, listed).finally(() => this.#folderSlots.release())) };
  }

  /** Stores an entry or begins to: `node` is in a wrapper so that it is not waited for here. Null: left out. */
  async #beginEntry(path: string, entry: SourceEntry, listed: ListedFolder): Promise<{ node: PendingNode } | null> {
    if (entry.kind === 'skipped') {
      this.#options.onSkipped(entry.skipped);
      return null;
    }
    const { node } = entry;
    const same = this.#sameFile(node, listed.parent);
    if (same !== null) return { node: same };
    const [nodePath, before] = [joinPath(path, node.name), beforeOf(listed.parent, node)];
    if (node.type === 'file') {
      const known = node.continues === undefined ? undefined : await this.#knownContent(node.continues);
      const pending = this.#beginFile(path, node, { before, recorded: listed.recorded, known });
      if (this.#runs.isFull) await this.#sendRuns();
      return { node: pending };
    }
    if (node.type !== 'dir') return { node: encodeNodeText(encodeSourceNode(node)) };
    const isUnmoved = before?.modifiedNs === node.modifiedNs && before.changedNs === node.changedNs;
    const folder: WalkedFolder = {
      place: listed.recorded?.record.placeOf(node.name),
      known: listed.known?.child(node.name),
      treeBefore: before?.subtree,
      onStored: (subtree) => {
        this.#options.onDirectory(before?.type !== 'dir' ? 'new' : isUnmoved && before.subtree === subtree ? 'unmodified' : 'changed');
        return encodeNodeText(encodeSourceNode(node, { subtree }));
      },
    };
    return await this.#beginFolder(nodePath, folder, listed);
  }

  /** A folder that is what it was, though perhaps not what is in it. Null: nothing of it is another, or it is left out. */
  async #beginKept(
    path: string,
    { place, name, folder: known, text }: KeptFolder,
    listed: ListedFolder,
  ): Promise<{ node: PendingNode } | null> {
    const { onDirectory, onSame } = this.#options;
    if (known.isSame) {
      onDirectory('unmodified');
      onSame(known.totals);
      listed.recorded?.keep(place, known);
      return null;
    }
    const { treeId: treeBefore } = known;
    const onStored = (subtree: ObjectId): NamedNodeText => {
      onDirectory(subtree === treeBefore ? 'unmodified' : 'changed');
      return { name, text: replaceSubtree(text, treeBefore, subtree) };
    };
    return await this.#beginFolder(joinPath(path, name), { place, known, treeBefore, onStored }, listed);
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
  #beginFile(folder: string, node: SourceNode, earlier: FileBefore): PendingNode {
    const { before } = earlier;
    const { index, onFile, onBytes } = this.#options;
    const content = unchangedContent(node, before, index);
    if (content !== null) {
      onFile('unmodified', node.sizeBytes);
      onBytes(node.sizeBytes);
      // The change time is that of the parent, and so are the attributes.
      const same = node.attributesUnread === true ? withAttributesOf(node, before?.extendedAttributes) : node;
      return encodeNodeText(encodeSourceNode(same, { content }));
    }
    return this.#runs.add(folder, node, earlier);
  }

  /** What the parent has of a file that its source says has only grown, or moved. */
  async #knownContent(continues: ContinuedFile): Promise<FileBefore['known']> {
    const { loader, parentTreeId, index, onWarning } = this.#options;
    if (parentTreeId === undefined) return undefined;
    const onDamaged = (reason: string): void => onWarning(`what the parent has of files that grew is not used: ${reason}`);
    this.#parentNodes ??= new ParentNodes(loader, parentTreeId, { signal: this.#signal, onDamaged });
    return knownContentOf(await this.#parentNodes.get(continues.path), continues, index) ?? undefined;
  }

  /** Threads that store wait for what was gathered, and this may have to wait for them. */
  async #sendRuns(): Promise<void> {
    await this.#runs.send();
    this.#signal.throwIfAborted();
  }

  async #beginFolder(path: string, folder: WalkedFolder, above: ListedFolder): Promise<{ node: PendingNode } | null> {
    const { place, known, treeBefore, onStored } = folder;
    if (known?.isSame === true) {
      above.recorded?.keep(place, known);
      this.#options.onSame(known.totals);
      return { node: onStored(known.treeId) };
    }
    let listed: ListedFolder;
    await this.#sendRuns();
    try {
      listed = await this.#list(path, treeBefore, known);
    } catch (error) {
      if (!isUnlistable(error)) throw error;
      this.#options.onSkipped({ path, reason: error.message });
      this.#options.source.onFolderStored?.(path);
      above.recorded?.spoil(place);
      return null;
    }
    above.recorded?.keep(place, listed.recorded);
    const { treeId } = await this.#walkFolder(path, listed);
    const { source } = this.#options;
    const stored = treeId.then((subtree) => {
      source.onFolderStored?.(path);
      return onStored(subtree);
    });
    return { node: this.#track(stored) };
  }

  async #saveTree(nodes: readonly PendingNode[], { parent, recorded, kept }: ListedFolder): Promise<ObjectId> {
    const whole: NamedNodeText[] = [];
    for (const pending of nodes) {
      if (pending instanceof FilePlace && !pending.run.isDone) await pending.run.done;
      const node = pending instanceof Promise ? await pending : pending instanceof FilePlace ? pending.stored : pending;
      if (node !== null) whole.push(node);
    }
    const bytes = kept === undefined ? treeBytesOf(whole, parent) : revisedTreeOf(whole, parent, kept);
    invariant(bytes !== null || parent.treeId !== undefined, 'a tree is that of a parent without one');
    const treeId = bytes === null ? (parent.treeId ?? '') : (await this.#options.sink.save('tree', bytes)).id;
    recorded?.close(treeId);
    return treeId;
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
