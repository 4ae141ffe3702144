import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from './blob-index.ts';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { FindingList } from './finding-list.ts';
import type { Snapshot } from './snapshots.ts';
import { joinPath } from './source-node.ts';

export interface AffectedPathsOptions {
  readonly index: BlobIndex;
  readonly loader: BlobLoader;
  readonly findings: FindingList;
  readonly signal: AbortSignal;
}

/** Walks the snapshots once more and notes at each finding the files and folders that it hits. Done only when there is damage. */
export async function noteAffectedPaths(snapshots: readonly Snapshot[], options: AffectedPathsOptions): Promise<void> {
  const { index, loader, findings, signal } = options;
  /** Trees with no damage in or below them: most, and those of one snapshot are mostly those of the next. */
  const whole = new Set<ObjectId>();

  const walk = async (snapshotId: ObjectId, treeId: ObjectId, path: string): Promise<boolean> => {
    if (whole.has(treeId)) return true;
    signal.throwIfAborted();
    const treePack = index.lookup('tree', treeId)?.packId;
    if (findings.hits('tree', treeId, treePack)) {
      findings.addAffected('tree', treeId, treePack, { snapshotId, path });
      return false;
    }
    let isWhole = true;
    for (const node of await loadOrNothing(loader, treeId, signal)) {
      const nodePath = joinPath(path, node.name);
      for (const id of node.content ?? []) {
        const packId = index.lookup('data', id)?.packId;
        if (!findings.hits('data', id, packId)) continue;
        isWhole = false;
        findings.addAffected('data', id, packId, { snapshotId, path: nodePath });
      }
      if (node.subtree !== undefined && !(await walk(snapshotId, node.subtree, nodePath))) isWhole = false;
    }
    if (isWhole) whole.add(treeId);
    return isWhole;
  };

  for (const snapshot of snapshots) await walk(snapshot.id, snapshot.tree, '/');
}

async function loadOrNothing(loader: BlobLoader, treeId: ObjectId, signal: AbortSignal) {
  try {
    return await loader.loadTree(treeId, signal);
  } catch (error) {
    // Beyond what the list of findings holds: already counted there.
    if (!isDamage(error)) throw error;
    return [];
  }
}
