/**
 * Numbers of snapshots as runs: first and last of each, in ascending order. A tree that stays from one snapshot to the next takes one run,
 * however many have it.
 */
export type SnapshotRuns = readonly number[];

/** Brings runs in any order, which may touch or lie over each other, into theirs. */
export function joinRuns(runs: readonly number[]): SnapshotRuns {
  let isSorted = true;
  for (let at = 2; at < runs.length && isSorted; at += 2) isSorted = (runs[at] ?? 0) >= (runs[at - 2] ?? 0);
  const sorted = isSorted ? runs : sortedRuns(runs);
  const joined: number[] = [];
  for (let at = 0; at < sorted.length; at += 2) {
    const [first = 0, last = 0] = [sorted[at], sorted[at + 1]];
    const before = joined.length - 1;
    if (before > 0 && first <= (joined[before] ?? 0) + 1) joined[before] = Math.max(joined[before] ?? 0, last);
    else joined.push(first, last);
  }
  return joined;
}

export function countOf(runs: SnapshotRuns): number {
  let count = 0;
  for (let at = 0; at < runs.length; at += 2) count += (runs[at + 1] ?? 0) - (runs[at] ?? 0) + 1;
  return count;
}

function sortedRuns(runs: readonly number[]): number[] {
  const pairs = Array.from({ length: runs.length / 2 }, (_, nth) => [runs[nth * 2] ?? 0, runs[nth * 2 + 1] ?? 0] as const);
  return pairs.toSorted(([a], [b]) => a - b).flat();
}
