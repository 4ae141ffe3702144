import { objectIdBytes, type ObjectId } from '@holdfast/restic-format/object-id';

/**
 * Recorded folders in columns: some ten numbers and a name an entry, and no object. The first is the top; each stands before the folders
 * in it. For the meaning of words and names see FolderRecord.
 */
export interface CachedFolders {
  readonly count: number;
  /** 32 bytes a folder. */
  readonly treeIds: Uint8Array;
  /** Where a folder's entries, names (in bytes) and children begin; one more at the end. */
  readonly entryStarts: Uint32Array;
  readonly nameStarts: Uint32Array;
  readonly childStarts: Uint32Array;
  /** 1 where the names were chosen by the source. */
  readonly chosen: Uint32Array;
  /** The folders in it that are recorded too: which entry of it, and which folder. In the order of the entries. */
  readonly childEntries: Uint32Array;
  readonly childFolders: Uint32Array;
  readonly stats: Uint32Array;
  readonly names: Uint8Array;
}

/** One folder on its way into columns. */
export interface FolderToCache {
  readonly treeId: Uint8Array;
  readonly names: Uint8Array;
  readonly stats: Uint32Array;
  readonly isChosen: boolean;
  /** Entry and folder, both as numbers. */
  readonly children: readonly (readonly [number, number])[];
}

export function treeIdOf({ treeIds }: CachedFolders, folder: number): ObjectId {
  return Buffer.from(treeIds.buffer, treeIds.byteOffset + folder * objectIdBytes, objectIdBytes).toString('hex');
}
