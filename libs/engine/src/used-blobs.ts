import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import { idAt, referencesOf, type TreeGraph } from './tree-references.ts';

export interface UsedBlobs {
  /** 1 for every index entry that is the first of a blob in use. */
  readonly marks: Uint8Array;
  readonly treeCount: number;
  readonly blobCount: number;
}

export interface UsedBlobsOptions {
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  /** Trees that were read already; the others are loaded. */
  readonly graph?: TreeGraph;
  readonly signal: AbortSignal;
  /** A blob that a tree or snapshot names and no index has. */
  readonly onMissing: (type: BlobType, id: ObjectId) => void;
  /** A tree that cannot be read: what is below it is unknown. */
  readonly onDamagedTree: (id: ObjectId, reason: string) => void;
  readonly onTree?: (treeCount: number) => void;
}

/** Follows the trees to every blob that they need, each tree once. */
export async function markUsedBlobs(treeIds: readonly ObjectId[], options: UsedBlobsOptions): Promise<UsedBlobs> {
  const { index, loader, graph, signal, onMissing, onDamagedTree, onTree } = options;
  const marks = new Uint8Array(index.entryCount);
  const missing = new Set<string>();
  let treeCount = 0;
  let blobCount = 0;

  /** True when the blob is there and met for the first time. */
  const mark = (type: BlobType, entry: number, idOf: () => ObjectId): boolean => {
    if (entry === -1) {
      const id = idOf();
      if (!missing.has(type + id)) onMissing(type, id);
      missing.add(type + id);
      return false;
    }
    if (marks[entry] === 1) return false;
    marks[entry] = 1;
    blobCount++;
    return true;
  };

  // Depth first, so that the trees to do are never more than the folders beside one path.
  const todo = treeIds.toReversed();
  for (let treeId = todo.pop(); treeId !== undefined; treeId = todo.pop()) {
    signal.throwIfAborted();
    const id = treeId;
    if (!mark('tree', index.find('tree', id), () => id)) continue;
    try {
      const { bytes, position, subtreeCount, blobCount: dataCount } = graph?.get(id) ?? referencesOf(id, await loader.loadTree(id, signal));
      const firstBlob = position + subtreeCount * idBytes;
      for (let nth = 0; nth < dataCount; nth++) {
        const at = firstBlob + nth * idBytes;
        mark('data', index.findBytes('data', bytes, at), () => idAt(bytes, at));
      }
      for (let nth = subtreeCount - 1; nth >= 0; nth--) todo.push(idAt(bytes, position + nth * idBytes));
    } catch (error) {
      if (!isDamage(error)) throw error;
      onDamagedTree(id, error.message);
    }
    treeCount++;
    onTree?.(treeCount);
  }
  return { marks, treeCount, blobCount };
}

const idBytes = 32;
