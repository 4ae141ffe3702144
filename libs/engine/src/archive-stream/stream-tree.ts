import { invariant } from '@holdfast/errors/invariant';
import { compareNames } from '@holdfast/restic-format/file-name';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeNodeText, type NamedNodeText } from '@holdfast/restic-format/tree-text';
import { setImmediate } from 'node:timers/promises';
import type { ArchiveTally } from '../archive-tally.ts';
import {
  ChunkStream,
  type ChunkStreamOptions,
  type FileInspection,
  type ReadStream,
  type StreamedFile,
} from '../archive-threads/chunk-stream.ts';
import type { BlobLoader } from '../blob-loader.ts';
import type { BlobSink } from '../blob-sink.ts';
import { loadParentFolder, treeBytesOf, type ParentFolder } from '../parent.ts';
import { encodeSourceNode, joinPath, type NodeContent } from '../source-node.ts';
import { NodeLog } from './node-log.ts';
import { ReceivedFolders, splitPath, untoldFolder, type ReceivedFolder, type StreamNode } from './received-folder.ts';

/** Takes what a stream brings, one call after the other, in any order: what is in a folder may come before it, a folder may come twice, or never. */
export interface StreamSink {
  /** Anything without content. Errors: internal for a path that is none. */
  add(path: string, node: StreamNode): Promise<void>;
  /**
   * Takes the content to its end and returns when it is read, which may be before it is stored; waits while there is enough in hand. A piece is
   * not needed any more when the next one is asked for. Throws what the content throws, and what storing failed with.
   */
  addFile(path: string, node: StreamNode, content: AsyncIterable<Uint8Array> | InspectedContent): Promise<void>;
  /** Returns when all that came is stored, and whoever wants to hear of it has. Throws what storing failed with. */
  settle(): Promise<void>;
}

/** A content that is read into place, and inspected there as the stream's `inspection` does it. */
export interface InspectedContent extends FileInspection {
  /** Fills `into`; returns the bytes, fewer than that only where the content ends, and 0 at its end. */
  read(into: Uint8Array): Promise<number>;
}

export interface StreamTreeOptions {
  readonly chunks: ChunkStreamOptions;
  readonly sink: BlobSink;
  readonly loader: BlobLoader;
  readonly tally: ArchiveTally;
  readonly parentTreeId: ObjectId | undefined;
  /** Called once, with what the first file failed with that could not be stored. */
  readonly onFailed: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** An abort is to be seen within a second while trees are made. */
const breathIntervalMs = 10;

/** Stores the files of a stream as they come, and their trees when all are there. */
export class StreamTree implements StreamSink {
  readonly #options: StreamTreeOptions;
  readonly #stream: ChunkStream;
  readonly #folders = new ReceivedFolders();
  readonly #log = new NodeLog();
  /** Files that are read and not stored yet: no more than what is on the way holds. */
  readonly #pending = new Set<Promise<void>>();
  #isReading = false;
  #failure: { error: unknown } | undefined;
  #breathedAtMs = performance.now();

  constructor(options: StreamTreeOptions) {
    this.#options = options;
    this.#stream = new ChunkStream(options.chunks);
  }

  async add(path: string, node: StreamNode): Promise<void> {
    this.#throwIfFailed();
    const { folder, name } = splitPath(path);
    if (node.type === 'dir') this.#folders.at(path).node = node;
    else this.#note(this.#folders.at(folder), name, node);
  }

  async addFile(path: string, node: StreamNode, content: AsyncIterable<Uint8Array> | InspectedContent): Promise<void> {
    this.#throwIfFailed();
    invariant(node.type === 'file', 'what has content is a file');
    invariant(!this.#isReading, 'the files of a stream came at the same time');
    // Before anything of it is read.
    splitPath(path);
    this.#isReading = true;
    try {
      const file = await this.#read(content);
      this.#wait(this.#noteStored(path, node, file));
    } finally {
      this.#isReading = false;
    }
    // What arrived meanwhile may have failed.
    this.#throwIfFailed();
  }

  async settle(): Promise<void> {
    await this.#stream.flush();
    await this.#settle();
    this.#throwIfFailed();
  }

  /** Nothing more comes: stores what is left and the trees, and returns the id of the top one. */
  async finish(): Promise<ObjectId> {
    await this.settle();
    return await this.#save(this.#folders.top, '/', this.#options.parentTreeId);
  }

  /** After a failure: waits for what is on the way, whatever becomes of it. */
  async giveUp(reason: unknown): Promise<void> {
    this.#stream.giveUp(reason);
    await this.#settle();
  }

  async #read(content: AsyncIterable<Uint8Array> | InspectedContent): Promise<StreamedFile> {
    const onBytes = (bytes: number): void => this.#options.tally.addBytes(bytes);
    if ('read' in content) return await this.#stream.add((into) => content.read(into), { onBytes, inspection: content });
    const pieces = content[Symbol.asyncIterator]();
    try {
      return await this.#stream.add(readingFrom(pieces), { onBytes });
    } catch (error) {
      await pieces.return?.();
      throw error;
    }
  }

  async #settle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  #note(folder: ReceivedFolder, name: string, node: StreamNode, content: NodeContent = {}): void {
    this.#log.add(folder.number, { ...nodeTextOf(name, node, content), isFile: node.type === 'file' });
  }

  async #noteStored(path: string, node: StreamNode, { sizeBytes, content }: StreamedFile): Promise<void> {
    const ids = await content;
    this.#options.tally.addStoredFile(sizeBytes);
    const { folder, name } = splitPath(path);
    this.#note(this.#folders.at(folder), name, node, { content: ids, sizeBytes });
  }

  #wait(stored: Promise<void>): void {
    const pending = stored
      .catch((error: unknown) => {
        if (this.#failure !== undefined) return;
        this.#failure = { error };
        this.#options.onFailed(error);
      })
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  /** Stores the trees of what is below, then the folder's own. */
  async #save(folder: ReceivedFolder, path: string, treeBefore: ObjectId | undefined): Promise<ObjectId> {
    const { loader, signal, sink, tally } = this.#options;
    await this.#breathe();
    const onDamaged = (reason: string): void => tally.addWarning(`${path} of the parent snapshot: ${reason}`);
    const parent = await loadParentFolder(loader, treeBefore, { signal, onDamaged });
    const nodes: NamedNodeText[] = [];
    for (const [name, below] of folder.folders) {
      const before = parent.get(name);
      const subtree = await this.#save(below, joinPath(path, name), before?.subtree);
      const node = nodeTextOf(name, below.node ?? untoldFolder, { subtree });
      tally.addDirectory(before?.type !== 'dir' ? 'new' : parent.text(name) === node.text ? 'unmodified' : 'changed');
      nodes.push(node);
    }
    for (const node of this.#log.nodesOf(folder.number)) {
      if (node.isFile) tally.judgeFile(judge(node, parent));
      nodes.push(node);
    }
    const bytes = treeBytesOf(
      nodes.toSorted((a, b) => compareNames(a.name, b.name)),
      parent,
    );
    if (bytes === null) return parent.treeId ?? '';
    return (await sink.save('tree', bytes)).id;
  }

  async #breathe(): Promise<void> {
    this.#options.signal.throwIfAborted();
    if (performance.now() - this.#breathedAtMs < breathIntervalMs) return;
    await setImmediate();
    this.#breathedAtMs = performance.now();
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#options.signal.throwIfAborted();
  }
}

function nodeTextOf(name: string, node: StreamNode, content: NodeContent): NamedNodeText {
  return encodeNodeText(encodeSourceNode({ ...node, name, sizeBytes: 0 }, content));
}

/** All of a stream is read, so a file is what it was when all that its node says is. */
function judge({ name, text }: NamedNodeText, parent: ParentFolder): 'new' | 'changed' | 'unmodified' {
  const before = parent.text(name);
  if (before === text) return 'unmodified';
  return before !== undefined && parent.get(name)?.type === 'file' ? 'changed' : 'new';
}

function readingFrom(pieces: AsyncIterator<Uint8Array>): ReadStream {
  let piece: Uint8Array = new Uint8Array();
  return async (into) => {
    while (piece.length === 0) {
      const next = await pieces.next();
      if (next.done === true) return 0;
      piece = next.value;
    }
    const count = Math.min(piece.length, into.length);
    into.set(piece.subarray(0, count));
    piece = piece.subarray(count);
    return count;
  };
}
