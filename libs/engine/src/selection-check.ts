import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { TreeNode } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { decodeSoundNodes } from '@holdfast/restic-format/tree';
import type { BlobLoader } from './blob-loader.ts';
import { isDamage } from './damage.ts';
import type { PathSelection } from './path-selection.ts';
import { joinPath } from './source-node.ts';

/**
 * What can be said of a selection by the trees alone, before anything is written: what of it is not there, and what would come to the
 * same place.
 */
export interface CheckedTree {
  readonly loader: BlobLoader;
  readonly selection: PathSelection;
  readonly signal: AbortSignal;
}

/** The tree of a folder. Code: path_not_found. */
export async function folderTree(
  { loader, signal }: Pick<CheckedTree, 'loader' | 'signal'>,
  topId: ObjectId,
  folder: string,
): Promise<ObjectId> {
  let treeId = topId;
  for (const name of folder.split('/').filter((each) => each !== '')) {
    const subtree: ObjectId | undefined = (await soundNodes(loader, treeId, signal)).find((node) => node.name === name)?.subtree;
    if (subtree === undefined) throw new HoldfastError('path_not_found', `the snapshot has no folder ${folder}`);
    treeId = subtree;
  }
  return treeId;
}

/**
 * Selected paths that the snapshot does not have; throws path_not_found when nothing else is selected. `folder` is the part of the
 * snapshot that is walked, with its tree: only what lies in it counts.
 */
export async function findMissingPaths(checked: CheckedTree, topId: ObjectId, folder: string, treeId: ObjectId): Promise<string[]> {
  const { selection } = checked;
  const paths = selection.paths ?? [];
  const missing: string[] = [];
  for (const path of paths) {
    const isInside = folder === '/' || path === folder || path.startsWith(`${folder}/`) || folder.startsWith(`${path}/`);
    if (!isInside || !(await hasPath(checked, topId, path))) missing.push(path);
  }
  if (!selection.isEverything && !(await holdsSelected(checked, treeId, folder))) {
    const what = missing.length === 0 ? 'nothing that the selection takes' : `no ${missing.slice(0, maxNamed).join(', no ')}`;
    throw new HoldfastError('path_not_found', `the snapshot has ${what}`, {
      hint: 'choose paths that are in the snapshot, as they were when it was made',
    });
  }
  return missing;
}

/**
 * Refuses a selection of which two entries would come to one place when so many names are taken off their paths: below that they lie
 * apart as before. Code: request_invalid.
 */
export async function assertNoCollision(checked: CheckedTree, treeId: ObjectId, stripComponents: number): Promise<void> {
  const taken = new Map<string, string>();
  const walk = async (nodes: readonly TreeNode[], folder: string, left: number): Promise<void> => {
    for (const node of nodes) {
      checked.signal.throwIfAborted();
      const path = joinPath(folder, node.name);
      const part = checked.selection.partOf(path);
      if (part === 'none' || (part === 'through' && node.type !== 'dir')) continue;
      if (left > 0) {
        if (node.subtree !== undefined) await walk(await readable(checked, node.subtree), path, left - 1);
        continue;
      }
      if (part === 'through' && (node.subtree === undefined || !(await holdsSelected(checked, node.subtree, path)))) continue;
      const other = taken.get(node.name);
      if (other !== undefined) {
        throw new HoldfastError('request_invalid', `${JSON.stringify(other)} and ${JSON.stringify(path)} would come to one place`, {
          hint: 'strip fewer components, or recover them one after the other into folders of their own',
          context: { path },
        });
      }
      taken.set(node.name, path);
    }
  };
  if (stripComponents > 0) await walk(await readable(checked, treeId), '/', stripComponents);
}

/** Of a thousand paths that are missing a message names these. */
const maxNamed = 10;

/** Whether anything that is selected lies in a folder; the walk ends at the first. */
async function holdsSelected(checked: CheckedTree, treeId: ObjectId, folder: string): Promise<boolean> {
  for (const node of await readable(checked, treeId)) {
    checked.signal.throwIfAborted();
    const path = joinPath(folder, node.name);
    const part = checked.selection.partOf(path);
    if (part === 'all') return true;
    if (part === 'through' && node.subtree !== undefined && (await holdsSelected(checked, node.subtree, path))) return true;
  }
  return false;
}

async function hasPath(checked: CheckedTree, topId: ObjectId, path: string): Promise<boolean> {
  let subtree: ObjectId | undefined = topId;
  for (const name of path.split('/').slice(1)) {
    if (subtree === undefined) return false;
    const node: TreeNode | undefined = (await soundNodes(checked.loader, subtree, checked.signal)).find((one) => one.name === name);
    if (node === undefined) return false;
    subtree = node.subtree;
  }
  return true;
}

/** A damaged tree holds nothing here; the recovery itself tells of it. */
async function readable({ loader, signal }: CheckedTree, treeId: ObjectId): Promise<readonly TreeNode[]> {
  try {
    return await soundNodes(loader, treeId, signal);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return [];
  }
}

async function soundNodes(loader: BlobLoader, treeId: ObjectId, signal: AbortSignal): Promise<readonly TreeNode[]> {
  return await loader.readTree(treeId, signal, (bytes) => decodeSoundNodes(bytes).nodes);
}
