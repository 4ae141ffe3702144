import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { SourceNode } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';

/** One folder of the parent snapshot: its nodes by name. */
export type ParentFolder = ReadonlyMap<string, TreeNode>;

const nothing: ParentFolder = new Map();

/** A folder of the parent, or an empty one when there is none; a damaged one too, after `onDamaged`: its files are then read again. */
export async function loadParentFolder(
  loader: BlobLoader,
  treeId: ObjectId | undefined,
  options: { signal: AbortSignal; onDamaged: (reason: string) => void },
): Promise<ParentFolder> {
  if (treeId === undefined) return nothing;
  try {
    return new Map((await loader.loadTree(treeId, options.signal)).map((node) => [node.name, node]));
  } catch (error) {
    if (!isDamage(error)) throw error;
    options.onDamaged(error.message);
    return nothing;
  }
}

/**
 * The content of a file that has not changed since the parent, or null when it must be read: as restic, it is unchanged when type, size,
 * modification and change time and inode are the same; and it counts only while the repository still has every blob of it.
 */
export function unchangedContent(node: SourceNode, before: TreeNode | undefined, index: BlobIndex): readonly ObjectId[] | null {
  if (before?.type !== 'file' || before.content === null) return null;
  const isSame =
    (before.sizeBytes ?? 0) === node.sizeBytes &&
    before.modifiedNs === node.modifiedNs &&
    before.changedNs === node.changedNs &&
    (before.inode ?? 0n) === node.inode;
  return isSame && before.content.every((id) => index.has('data', id)) ? before.content : null;
}
