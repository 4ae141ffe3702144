import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { Snapshot } from './snapshots.ts';
import { joinPath } from './source-node.ts';

/** What a snapshot no longer has. A folder stands for everything below it, the top (`/`) for the whole snapshot. */
export interface Loss {
  readonly snapshotId: ObjectId;
  readonly path: string;
  readonly kind: 'file' | 'folder';
  readonly reason: string;
}

export interface LossWalkOptions {
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly signal: AbortSignal;
  readonly onLoss: (loss: Loss) => void;
  readonly onTree?: () => void;
}

/** Follows snapshots to everything that they have lost. Trees that are whole with all below are walked once. */
export function createLossWalk(options: LossWalkOptions): { walk(snapshot: Snapshot): Promise<boolean> } {
  const { index, loader, signal, onLoss, onTree } = options;
  const whole = new Set<ObjectId>();

  const walkTree = async (snapshotId: ObjectId, treeId: ObjectId, path: string): Promise<boolean> => {
    if (whole.has(treeId)) return true;
    signal.throwIfAborted();
    const nodes = await loadTreeOrReason(loader, treeId, signal);
    if (typeof nodes === 'string') {
      onLoss({ snapshotId, path, kind: 'folder', reason: nodes });
      return false;
    }
    onTree?.();
    let isWhole = true;
    for (const node of nodes) {
      const nodePath = joinPath(path, node.name);
      const missing = missingContent(node, index).length;
      if (missing > 0) {
        isWhole = false;
        onLoss({ snapshotId, path: nodePath, kind: 'file', reason: `${missing} of its ${node.content?.length ?? 0} blobs are lost` });
      }
      if (node.subtree !== undefined && !(await walkTree(snapshotId, node.subtree, nodePath))) isWhole = false;
    }
    if (isWhole) whole.add(treeId);
    return isWhole;
  };

  return { walk: (snapshot) => walkTree(snapshot.id, snapshot.tree, '/') };
}

/** The blobs of a file that are in no index. */
export function missingContent(node: TreeNode, index: BlobIndex): ObjectId[] {
  return (node.content ?? []).filter((id) => !index.has('data', id));
}

/** The nodes, or why they are not to be had. */
export async function loadTreeOrReason(loader: BlobLoader, treeId: ObjectId, signal: AbortSignal): Promise<TreeNode[] | string> {
  try {
    return await loader.loadTree(treeId, signal);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error.message;
  }
}
