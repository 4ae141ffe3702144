import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { isDamage } from '../damage.ts';
import { browsedEntryOf, type BrowsedEntry, topEntry } from './browsed-entry.ts';
import { namesOfPath, pathOfNames } from './browse-path.ts';
import type { SnapshotTops } from './snapshot-tops.ts';
import type { ListedNode, TreeListing } from './tree-listing.ts';
import type { TreeStore } from './tree-store.ts';

/** A folder of a snapshot. */
export interface FoundFolder {
  /** `/` for the top. */
  readonly path: string;
  readonly treeId: ObjectId;
}

/** A folder, or what else a path leads to. */
export type FoundPath = ({ readonly kind: 'folder'; readonly listed: ListedNode | null } & FoundFolder) | FoundFile;

interface FoundFile {
  readonly kind: 'other';
  readonly path: string;
  readonly listed: ListedNode;
}

/** Finds paths in snapshots, by the trees of the folders above them. */
export class SnapshotTrees {
  readonly tops: SnapshotTops;
  readonly trees: TreeStore;

  constructor(tops: SnapshotTops, trees: TreeStore) {
    this.tops = tops;
    this.trees = trees;
  }

  /**
   * Has `work` done with the snapshot's top tree. When trees are missing because the snapshot was forgotten meanwhile, that is what is said.
   * Errors: snapshot_missing, those of `work`.
   */
  async withTop<T>(snapshotId: ObjectId, signal: AbortSignal, work: (treeId: ObjectId, timeNs: bigint) => Promise<T>): Promise<T> {
    const { treeId, timeNs } = await this.tops.get(snapshotId, signal);
    try {
      return await work(treeId, timeNs);
    } catch (error) {
      if (isDamage(error)) await this.assertThere(snapshotId, signal);
      throw error;
    }
  }

  /** After something of it was missing. Code: snapshot_missing. */
  async assertThere(snapshotId: ObjectId, signal: AbortSignal): Promise<void> {
    await this.tops.getAnew(snapshotId, signal);
  }

  /** Errors: request_invalid, path_not_found (also below something that is no folder), repository_damaged, those of the storage. */
  async find(topId: ObjectId, path: string, signal: AbortSignal, field = 'path'): Promise<FoundPath> {
    const names = namesOfPath(path, field);
    let found: FoundPath = { kind: 'folder', path: '/', treeId: topId, listed: null };
    for (const [nth, name] of names.entries()) {
      if (found.kind !== 'folder') throw notFound(pathOfNames(names), `${found.path} is no folder`);
      const listing: TreeListing = await this.trees.listing(found.treeId, signal);
      const place = listing.find(name);
      if (place === -1) throw notFound(pathOfNames(names), `there is no ${JSON.stringify(name)} in ${found.path}`);
      found = foundAt(listing.at(place), pathOfNames(names.slice(0, nth + 1)));
    }
    return found;
  }

  /** As `find`, of a folder. */
  async findFolder(topId: ObjectId, path: string, signal: AbortSignal, field = 'path'): Promise<FoundFolder> {
    const found = await this.find(topId, path, signal, field);
    if (found.kind !== 'folder') throw notFound(found.path, 'it is no folder');
    return found;
  }

  /** As `findFolder`, but null when there is none. */
  async tryFindFolder(topId: ObjectId, path: string, signal: AbortSignal, field = 'path'): Promise<FoundFolder | null> {
    try {
      return await this.findFolder(topId, path, signal, field);
    } catch (error) {
      if (isHoldfastError(error, 'path_not_found')) return null;
      throw error;
    }
  }

  async entry(snapshotId: ObjectId, path: string, signal: AbortSignal): Promise<BrowsedEntry> {
    return await this.withTop(snapshotId, signal, async (topId, timeNs) => {
      const found = await this.find(topId, path, signal);
      if (found.listed === null) return topEntry(timeNs, (await this.trees.listing(topId, signal)).count);
      return this.entryOf(found.listed, found.path.slice(0, found.path.lastIndexOf('/')) || '/');
    });
  }

  entryOf({ node, isUnsafe, unknownType }: ListedNode, folder: string): BrowsedEntry {
    const childCount = node.subtree === undefined ? undefined : this.trees.peekCount(node.subtree);
    return browsedEntryOf(node, { folder, isUnsafe, unknownType, childCount });
  }
}

function foundAt(listed: ListedNode, path: string): FoundPath {
  const { type, subtree } = listed.node;
  if (type !== 'dir') return { kind: 'other', path, listed };
  if (subtree === undefined) throw new HoldfastError('repository_damaged', `folder ${path} of the snapshot has no tree`);
  return { kind: 'folder', path, treeId: subtree, listed };
}

function notFound(path: string, reason: string): HoldfastError {
  return new HoldfastError('path_not_found', `the snapshot has no ${path}: ${reason}`, {
    hint: 'choose a path that is in the snapshot, as it was when it was made',
    context: { path },
  });
}
