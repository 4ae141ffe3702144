import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TreeNode } from '@holdfast/restic-format/node';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { ContinuedFile, SourceFile } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { loadParentFolder, type ParentFolder } from './parent.ts';

/**
 * A file that only grew since the parent, a log, is not read again: the chunks that the parent has of it are kept, all but the last one, which
 * ended where the file ended and not where its content has a cut. Reading goes on where that one began, and since a chunk's end depends on
 * nothing before its beginning, what comes out is what reading all of the file would give.
 */
export interface KnownContent {
  readonly content: readonly ObjectId[];
  /** Of each blob, as it is in the file. */
  readonly lengthsBytes: readonly number[];
  readonly sizeBytes: number;
}

/** The beginning of a file that is kept. */
export interface KeptContent {
  readonly content: readonly ObjectId[];
  readonly sizeBytes: number;
}

/** What the parent has of the file; null unless it is a file of just that size and the repository has every blob of it. */
export function knownContentOf(before: TreeNode | undefined, claimed: ContinuedFile, index: BlobIndex): KnownContent | null {
  if (before?.type !== 'file' || before.content === null || before.sizeBytes !== claimed.sizeBytes) return null;
  const lengthsBytes: number[] = [];
  let sizeBytes = 0;
  for (const id of before.content) {
    const blob = index.lookup('data', id);
    if (blob === null) return null;
    const length = blob.uncompressedLength ?? blob.length - overheadBytes;
    lengthsBytes.push(length);
    sizeBytes += length;
  }
  return sizeBytes === claimed.sizeBytes ? { content: before.content, lengthsBytes, sizeBytes } : null;
}

/**
 * What is kept of a file that has `sizeBytes` now. That it is the same file is somebody's claim: the first and the last of the kept chunks
 * are read and must have their ids. Null when they do not, or when there is nothing to keep: then all of the file is to be read.
 * Errors: those of reading.
 */
export async function keepKnown(file: SourceFile, known: KnownContent | undefined, sizeBytes: number): Promise<KeptContent | null> {
  // Where a source says at which records to cut, cuts depend on what lies before.
  if (known === undefined || file.chosenEnds !== undefined || sizeBytes < known.sizeBytes) return null;
  const { length } = known.content;
  const count = sizeBytes === known.sizeBytes ? length : length - 1;
  if (count <= 0) return null;
  const lastBytes = known.lengthsBytes[count - 1] ?? 0;
  const keptBytes = sizeBytes === known.sizeBytes ? known.sizeBytes : known.sizeBytes - (known.lengthsBytes[length - 1] ?? 0);
  const isFirst = await holdsBlob(file, 0, known.lengthsBytes[0] ?? 0, known.content[0]);
  const isLast = isFirst && (count === 1 || (await holdsBlob(file, keptBytes - lastBytes, lastBytes, known.content[count - 1])));
  return isLast ? { content: known.content.slice(0, count), sizeBytes: keptBytes } : null;
}

async function holdsBlob(file: SourceFile, positionBytes: number, lengthBytes: number, id: ObjectId | undefined): Promise<boolean> {
  const bytes = new Uint8Array(lengthBytes);
  for (let filled = 0; filled < lengthBytes;) {
    const read = await file.read(bytes.subarray(filled), positionBytes + filled);
    if (read === 0) return false;
    filled += read;
  }
  return hashOf(bytes) === id;
}

/** Nodes of the parent by their paths, for files that have moved. Folders that were asked for are held. */
export class ParentNodes {
  readonly #loader: BlobLoader;
  readonly #options: { signal: AbortSignal; onDamaged: (reason: string) => void };
  readonly #folders = new Map<string, Promise<ParentFolder>>();

  constructor(loader: BlobLoader, treeId: ObjectId | undefined, options: { signal: AbortSignal; onDamaged: (reason: string) => void }) {
    this.#loader = loader;
    this.#options = options;
    this.#folders.set('', loadParentFolder(loader, treeId, options));
  }

  /** Undefined when the parent has no such path, or what leads there is damaged. Errors: those of the storage. */
  async get(path: string): Promise<TreeNode | undefined> {
    const at = path.lastIndexOf('/');
    return (await this.#folder(path.slice(0, at))).get(path.slice(at + 1));
  }

  #folder(path: string): Promise<ParentFolder> {
    const known = this.#folders.get(path) ?? this.#load(path);
    this.#folders.set(path, known);
    return known;
  }

  async #load(path: string): Promise<ParentFolder> {
    const node = await this.get(path);
    return await loadParentFolder(this.#loader, node?.type === 'dir' ? node.subtree : undefined, this.#options);
  }
}
