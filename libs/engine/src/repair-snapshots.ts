import { snapshotName } from '@holdfast/restic-format/layout';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { encodeTree } from '@holdfast/restic-format/tree';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import type { BlobSink } from './blob-sink.ts';
import type { Clock } from './clock.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';
import { loadTreeOrReason, missingContent } from './repair-losses.ts';
import type { Repository } from './repository.ts';
import type { Snapshot } from './snapshots.ts';

export interface RewriteOptions {
  readonly repository: Repository;
  readonly index: BlobIndex;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What a rewritten snapshot is marked with, beside its own tags. */
export const repairedTag = 'repaired';

/**
 * Writes, for each damaged snapshot, one of what is left of it: without the files and folders that are not whole, since half a file
 * that looks like one misleads. Trees, then index, then snapshots. A snapshot whose top is lost has none. The old ones stay.
 */
export async function rewriteSnapshots(damaged: readonly Snapshot[], options: RewriteOptions): Promise<{ from: ObjectId; to: ObjectId }[]> {
  const { repository, index, clock, signal } = options;
  const sink = createPacker({ repository, index, compression: 'auto', clock, signal });
  try {
    const rewriteTree = createTreeRewriter(options, sink);
    const trees: { snapshot: Snapshot; tree: ObjectId }[] = [];
    for (const snapshot of damaged) {
      const tree = await rewriteTree(snapshot.tree);
      if (tree !== null) trees.push({ snapshot, tree });
    }
    await sink.finish();
    const rewritten: { from: ObjectId; to: ObjectId }[] = [];
    for (const { snapshot, tree } of trees) {
      const { id, parent: _parent, summary: _summary, ...rest } = snapshot;
      const tags = [...new Set([...(snapshot.tags ?? []), repairedTag])];
      const bytes = encodeSnapshotFile({ ...rest, tree, tags, original: snapshot.original ?? id }, repository.cipher);
      rewritten.push({ from: id, to: await saveNamedFile(repository, snapshotName, bytes, signal) });
    }
    return rewritten;
  } finally {
    await sink.settle();
  }
}

/** Gives the id of what is left of a tree; null when nothing of it can be read. */
function createTreeRewriter({ repository, index, signal }: RewriteOptions, sink: BlobSink): (treeId: ObjectId) => Promise<ObjectId | null> {
  const loader = createBlobLoader(repository, index);
  const done = new Map<ObjectId, ObjectId | null>();
  const rewriteTree = async (treeId: ObjectId): Promise<ObjectId | null> => {
    const before = done.get(treeId);
    if (before !== undefined) return before;
    signal.throwIfAborted();
    const nodes = await loadTreeOrReason(loader, treeId, signal);
    const rewritten = typeof nodes === 'string' ? null : await rewriteNodes(treeId, nodes);
    done.set(treeId, rewritten);
    return rewritten;
  };
  const rewriteNodes = async (treeId: ObjectId, nodes: readonly TreeNode[]): Promise<ObjectId> => {
    const left: TreeNode[] = [];
    let isSame = true;
    for (const node of nodes) {
      const subtree = node.subtree === undefined ? undefined : await rewriteTree(node.subtree);
      const isLost = subtree === null || missingContent(node, index).length > 0;
      if (isLost || subtree !== node.subtree) isSame = false;
      if (!isLost) left.push(subtree === undefined ? node : { ...node, subtree });
    }
    // Kept under its id, also when it has fields that this version would not write again.
    return isSame ? treeId : (await sink.save('tree', encodeTree(left))).id;
  };
  return rewriteTree;
}
