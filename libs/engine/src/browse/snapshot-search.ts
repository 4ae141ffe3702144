import type { NodeType } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { forEachConcurrently } from '../slots.ts';
import { Breather } from './breather.ts';
import type { FoundNode } from './folder-entries.ts';
import type { NameIndex } from './name-index.ts';
import { parseQuery, type SearchQuery } from './search-query.ts';
import { SearchWalk, type TreeRuns } from './search-walk.ts';
import { countOf, joinRuns } from './snapshot-runs.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

/** What was found in one snapshot; `SnapshotBrowser.entry` tells the rest. */
export interface FoundEntry {
  readonly path: string;
  readonly type: NodeType;
  /** 0 for what is no file. */
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  /** Of a file: see BrowsedEntry. */
  readonly contentId?: string;
  /** See BrowsedEntry. */
  readonly isUnsafe: boolean;
}

/** What was found over time: a path, and what has been there. */
export interface FoundFile {
  readonly path: string;
  /** In the order in which they came first. The same content with the same time is one version, also when it went and came again. */
  readonly versions: readonly FoundVersion[];
}

export interface FoundVersion extends Omit<FoundEntry, 'path'> {
  /** In the order that the snapshots were given in. */
  readonly firstSnapshot: ObjectId;
  readonly lastSnapshot: ObjectId;
  /** How many of them have it. */
  readonly snapshotCount: number;
}

export interface SearchPage<Found> {
  /** By path, name by name, a folder before what is in it. There may be fewer than asked for, or none, with more to come. */
  readonly entries: readonly Found[];
  /** For the next page; null when everything was searched. */
  readonly next: string | null;
  /** Folders that could not be read, and were passed over: at most maxUnreadable, in all snapshots together. */
  readonly unreadable: readonly UnreadableFolder[];
}

export interface UnreadableFolder {
  readonly path: string;
  readonly reason: string;
}

/** A page of what was found over time. */
export interface HistoryPage extends Omit<SearchPage<FoundFile>, 'entries'> {
  readonly files: readonly FoundFile[];
  /** Snapshots that are not there any more, and were not searched. */
  readonly missingSnapshots: readonly ObjectId[];
}

/** For a message; a repository that is damaged as a whole would list every folder. */
const maxUnreadable = 100;
/** Small files at once: as for a listing of snapshots. */
const concurrentTops = 16;

export interface SearchTools {
  readonly snapshots: SnapshotTrees;
  readonly names: NameIndex;
  /** A page ends when it has taken so long, whatever it has found by then. */
  readonly budgetMs: number;
}

export async function searchSnapshot(
  tools: SearchTools,
  snapshotId: ObjectId,
  query: SearchQuery,
  signal: AbortSignal,
): Promise<SearchPage<FoundEntry>> {
  const { snapshots } = tools;
  return await snapshots.withTop(snapshotId, signal, async (topId) => {
    // To be told apart: a folder in which nothing is found, and none.
    if (query.below !== undefined) await snapshots.findFolder(topId, query.below, signal, 'below');
    return await search(tools, new Map([[topId, [0, 0]]]), query, signal, (path, nodes) => ({
      path,
      ...partsOf(nodes[0] ?? noNode),
    }));
  });
}

export async function searchHistory(
  tools: SearchTools,
  snapshotIds: readonly ObjectId[],
  query: SearchQuery,
  signal: AbortSignal,
): Promise<HistoryPage> {
  const treeIds = new Map<number, ObjectId>();
  const missingSnapshots: ObjectId[] = [];
  const unreadable: UnreadableFolder[] = [];
  await forEachConcurrently(snapshotIds.entries(), concurrentTops, async ([nth, id]) => {
    try {
      treeIds.set(nth, (await tools.snapshots.tops.get(id, signal)).treeId);
    } catch (error) {
      if (isHoldfastError(error, 'snapshot_missing')) missingSnapshots.push(id);
      else if (isHoldfastError(error, 'repository_damaged') || isHoldfastError(error, 'repository_unsupported')) {
        unreadable.push({ path: '/', reason: `snapshot ${id}: ${error.message}` });
      } else throw error;
    }
  });
  const tops = new Map<ObjectId, number[]>();
  for (const nth of snapshotIds.keys()) {
    const treeId = treeIds.get(nth);
    if (treeId === undefined) continue;
    const runs = tops.get(treeId);
    if (runs === undefined) tops.set(treeId, [nth, nth]);
    else runs.push(nth, nth);
  }
  const joined = new Map([...tops].map(([id, runs]) => [id, joinRuns(runs)]));
  const { entries, ...page } = await search(tools, joined, query, signal, (path, nodes) => ({
    path,
    versions: versionsOf(nodes, snapshotIds),
  }));
  return { files: entries, next: page.next, unreadable: [...unreadable, ...page.unreadable].slice(0, maxUnreadable), missingSnapshots };
}

async function search<Found>(
  { names, budgetMs }: SearchTools,
  tops: TreeRuns,
  query: SearchQuery,
  signal: AbortSignal,
  foundOf: (path: string, nodes: readonly FoundNode[]) => Found,
): Promise<SearchPage<Found>> {
  const entries: Found[] = [];
  const unreadable: UnreadableFolder[] = [];
  const parsed = parseQuery(query);
  const walk = new SearchWalk({
    query: parsed,
    names,
    breather: new Breather(budgetMs),
    signal,
    onFound: (path, nodes) => {
      if (entries.length === parsed.limit) return false;
      entries.push(foundOf(path, nodes));
      return true;
    },
    onUnreadable: (path, reason) => {
      if (unreadable.length < maxUnreadable) unreadable.push({ path, reason });
    },
  });
  await walk.run(tops);
  return { entries, next: walk.stoppedAt, unreadable };
}

const noNode: FoundNode = { type: 'file', sizeBytes: 0, modifiedNs: 0n, contentId: undefined, isUnsafe: true, runs: [] };

function partsOf({ type, sizeBytes, modifiedNs, contentId, isUnsafe }: FoundNode): Omit<FoundEntry, 'path'> {
  return { type, sizeBytes, modifiedNs, ...(contentId === undefined ? {} : { contentId }), isUnsafe };
}

function versionsOf(nodes: readonly FoundNode[], snapshotIds: readonly ObjectId[]): FoundVersion[] {
  const versions = new Map<string, { node: FoundNode; runs: number[] }>();
  for (const node of nodes) {
    const key = `${node.type} ${node.sizeBytes} ${node.modifiedNs} ${node.contentId} ${node.isUnsafe}`;
    const version = versions.get(key);
    if (version === undefined) versions.set(key, { node, runs: [...node.runs] });
    else for (const number of node.runs) version.runs.push(number);
  }
  return [...versions.values()]
    .map(({ node, runs }) => ({ node, runs: joinRuns(runs) }))
    .toSorted((a, b) => (a.runs[0] ?? 0) - (b.runs[0] ?? 0))
    .map(({ node, runs }) => ({
      ...partsOf(node),
      firstSnapshot: snapshotIds[runs[0] ?? 0] ?? '',
      lastSnapshot: snapshotIds[runs.at(-1) ?? 0] ?? '',
      snapshotCount: countOf(runs),
    }));
}
