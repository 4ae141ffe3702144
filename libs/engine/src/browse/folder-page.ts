import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BrowsedEntry } from './browsed-entry.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

export interface PageRequest {
  /** From 1 to maxPageEntries. */
  readonly limit: number;
  /** The `next` of the page before. */
  readonly after?: string;
}

export interface FolderPage {
  /** In the order of the bytes of their names. */
  readonly entries: readonly BrowsedEntry[];
  /** Of the whole folder. */
  readonly totalCount: number;
  /** For the next page; null behind the last one. */
  readonly next: string | null;
}

/** A page is made in one go: so many entries are decoded in some 50 ms, and take 1 KiB each. */
export const maxPageEntries = 10_000;

/** Errors: request_invalid, which names the limit. */
export function assertPageLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= maxPageEntries) return;
  throw new HoldfastError('request_invalid', `limit has to be from 1 to ${maxPageEntries}`, { context: { field: 'limit' } });
}

export async function folderPage(
  snapshots: SnapshotTrees,
  snapshotId: ObjectId,
  path: string,
  { limit, after }: PageRequest,
  signal: AbortSignal,
): Promise<FolderPage> {
  assertPageLimit(limit);
  return await snapshots.withTop(snapshotId, signal, async (topId) => {
    const folder = await snapshots.findFolder(topId, path, signal);
    const listing = await snapshots.trees.listing(folder.treeId, signal);
    const first = after === undefined ? 0 : listing.placeBehind(after);
    const behind = Math.min(first + limit, listing.count);
    const entries: BrowsedEntry[] = [];
    for (let place = first; place < behind; place++) entries.push(snapshots.entryOf(listing.at(place), folder.path));
    return { entries, totalCount: listing.count, next: behind < listing.count ? listing.nameAt(behind - 1) : null };
  });
}
