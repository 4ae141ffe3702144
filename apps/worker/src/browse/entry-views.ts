import type { BrowsedEntry } from '@holdfast/engine/browse/browsed-entry';
import type { FoundEntry } from '@holdfast/engine/browse/snapshot-search';
import type { BrowsedEntryView } from '@holdfast/jobs/browse/browse-answers';
import { writePath } from '@holdfast/jobs/browse/path-text';

/** Entries of snapshots as answers have them. */

const nsPerSecond = 1_000_000_000n;

/** ISO 8601 in UTC, to the nanosecond, without zeros at the end. */
export function writeTime(ns: bigint): string {
  const inSecond = ((ns % nsPerSecond) + nsPerSecond) % nsPerSecond;
  const seconds = (ns - inSecond) / nsPerSecond;
  const [whole = ''] = new Date(Number(seconds) * 1000).toISOString().split('.', 1);
  const fraction = String(inSecond).padStart(9, '0').replace(/0+$/u, '');
  return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`;
}

export function viewOfListed(entry: BrowsedEntry): BrowsedEntryView {
  const { uid, gid, user = null, group = null, linkTarget, childCount = null, unknownType } = entry;
  return {
    ...viewOfFound(entry),
    mode: entry.mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    user,
    group,
    linkTarget: linkTarget === undefined ? null : writePath(linkTarget),
    childCount,
    unknownType: unknownType === undefined ? null : writePath(unknownType),
  };
}

export function viewOfFound({ path, type, sizeBytes, modifiedNs, contentId, isUnsafe }: FoundEntry): BrowsedEntryView {
  const unknown = { mode: null, uid: null, gid: null, user: null, group: null, linkTarget: null, childCount: null, unknownType: null };
  return {
    name: writePath(path.slice(path.lastIndexOf('/') + 1)),
    path: writePath(path),
    type,
    sizeBytes,
    modified: writeTime(modifiedNs),
    ...unknown,
    contentId: contentId ?? null,
    isUnsafe,
  };
}

/** Folders that could not be read, as they are told. */
export function viewOfUnreadable({ path, reason }: { readonly path: string; readonly reason: string }): { path: string; reason: string } {
  return { path: writePath(path), reason };
}
