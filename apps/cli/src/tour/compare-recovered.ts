import { dirname } from 'node:path';
import type { ListedEntry, TreeListing } from './list-tree.ts';

export interface Comparison {
  readonly fileCount: number;
  readonly bytes: number;
  /** Entries that changed in the source while the backup ran, so that nobody can say which state it caught. */
  readonly changedMeanwhileCount: number;
  /** One sentence each. Empty means that every entry that stood still came back as it was. */
  readonly differences: readonly string[];
}

/**
 * Holds what was recovered against the source as it was just before the backup (with hashes) and just after it (without). An entry
 * that is the same in both lists, to the nanosecond of its last change, stood still and must have come back byte by byte, with
 * its mode and time. What moved meanwhile is counted, not judged.
 */
export function compareRecovered(before: TreeListing, after: TreeListing, recovered: TreeListing): Comparison {
  const differences: string[] = [];
  let fileCount = 0;
  let bytes = 0;
  let changedMeanwhileCount = 0;
  const stoodStill = (path: string): boolean => isSame(before.get(path), after.get(path));

  for (const [path, expected] of before) {
    if (!stoodStill(path)) {
      changedMeanwhileCount += 1;
      continue;
    }
    const difference = differenceOf(expected, recovered.get(path));
    if (difference !== undefined) differences.push(`${path === '' ? 'the folder itself' : path}: ${difference}`);
    if (expected.type === 'file') {
      fileCount += 1;
      bytes += Number(expected.sizeBytes);
    }
  }
  for (const path of recovered.keys()) {
    if (before.has(path)) continue;
    const folder = dirname(path);
    // What came, and perhaps went, while the backup ran has moved its folder's time.
    if (after.has(path) || !stoodStill(folder === '.' ? '' : folder)) changedMeanwhileCount += 1;
    else differences.push(`${path}: recovered although the source does not hold it`);
  }
  return { fileCount, bytes, changedMeanwhileCount, differences };
}

function isSame(before: ListedEntry | undefined, after: ListedEntry | undefined): boolean {
  return (
    before !== undefined && before.type === after?.type && before.changedNs === after.changedNs && before.sizeBytes === after.sizeBytes
  );
}

function differenceOf(expected: ListedEntry, found: ListedEntry | undefined): string | undefined {
  if (found === undefined) return 'missing in what was recovered';
  if (found.type !== expected.type) return `is a ${found.type} and was a ${expected.type}`;
  if (expected.type === 'symlink') return found.linkTarget === expected.linkTarget ? undefined : 'points elsewhere';
  if (expected.type === 'file' && found.sizeBytes !== expected.sizeBytes) return `has ${found.sizeBytes} bytes, not ${expected.sizeBytes}`;
  if (expected.type === 'file' && found.sha256 !== expected.sha256) return 'has other content';
  if (found.mode !== expected.mode) return `has mode ${found.mode.toString(8)}, not ${expected.mode.toString(8)}`;
  if (found.modifiedNs !== expected.modifiedNs) return 'has another modification time';
  return undefined;
}
