import { permissionBitsOf } from '@holdfast/restic-format/file-mode';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { joinPath } from '../source-node.ts';
import { Breather } from './breather.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

export interface WalkSelection {
  /** Absolute paths, each with all that is below it. Default: everything. */
  readonly paths?: readonly string[];
}

export interface WalkedEntry {
  readonly path: string;
  /** The low twelve bits of stat(2). */
  readonly mode: number;
  /** Name, type, mode (Go's: see restic-format/file-mode.ts), times, owner, link target, size, content. */
  readonly node: TreeNode;
  /** See BrowsedEntry: such an entry is told of, and nothing below it is. An archive must not have it. */
  readonly isUnsafe: boolean;
}

/**
 * All that is selected, depth first, each folder before what is in it, by path; the folders above a selected path are not told of. Holds the
 * trees of the folders on the way. Errors: request_invalid, snapshot_missing, path_not_found, repository_damaged, those of the storage.
 */
export async function* walkSnapshot(
  snapshots: SnapshotTrees,
  snapshotId: ObjectId,
  { paths = ['/'] }: WalkSelection,
  signal: AbortSignal,
): AsyncGenerator<WalkedEntry, void, undefined> {
  const { treeId: topId } = await snapshots.tops.get(snapshotId, signal);
  const found = await snapshots.withTop(snapshotId, signal, () =>
    Promise.all(paths.map((path) => snapshots.find(topId, path, signal, 'paths'))),
  );
  const all = found.toSorted((a, b) => comparePaths(a.path, b.path));
  let last: string | undefined;
  for (const { path, listed } of all) {
    // Selected by itself and with a folder above: once is enough.
    if (last !== undefined && (path === last || path.startsWith(last === '/' ? last : `${last}/`))) continue;
    last = path;
    if (listed === null) {
      yield* walkBelow(snapshots, path, topId, signal);
      continue;
    }
    const { node, isUnsafe } = listed;
    yield { path, node, mode: permissionBitsOf(node.mode), isUnsafe };
    if (node.type === 'dir' && node.subtree !== undefined) yield* walkBelow(snapshots, path, node.subtree, signal);
  }
}

async function* walkBelow(
  snapshots: SnapshotTrees,
  top: string,
  topId: ObjectId,
  signal: AbortSignal,
): AsyncGenerator<WalkedEntry, void, undefined> {
  const breather = new Breather(Number.POSITIVE_INFINITY);
  const folders = [{ path: top, listing: await snapshots.trees.listing(topId, signal), place: 0 }];
  for (let folder = folders.at(-1); folder !== undefined; folder = folders.at(-1)) {
    if (folder.place === folder.listing.count) {
      folders.pop();
      continue;
    }
    await breather.pause(signal);
    const { node, isUnsafe } = folder.listing.at(folder.place++);
    const path = joinPath(folder.path, node.name);
    yield { path, node, mode: permissionBitsOf(node.mode), isUnsafe };
    if (node.type !== 'dir' || node.subtree === undefined || isUnsafe) continue;
    folders.push({ path, listing: await snapshots.trees.listing(node.subtree, signal), place: 0 });
  }
}

/** So that a folder comes right before what is in it: a slash is below every character of a name. */
function comparePaths(a: string, b: string): number {
  const [x, y] = [a.replaceAll('/', '\0'), b.replaceAll('/', '\0')];
  if (x === y) return 0;
  return x < y ? -1 : 1;
}
