import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { compareNames } from '@holdfast/restic-format/file-name';
import type { NodeType } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { isDamage } from '../damage.ts';
import { joinPath } from '../source-node.ts';
import { Breather } from './breather.ts';
import { contentIdOf } from './browsed-entry.ts';
import { namesOfPath } from './browse-path.ts';
import { assertPageLimit, type PageRequest } from './folder-page.ts';
import { changeOf, type Change } from './node-difference.ts';
import type { FoundFolder, SnapshotTrees } from './snapshot-trees.ts';
import type { ListedNode, TreeListing } from './tree-listing.ts';

export interface DiffOptions extends PageRequest {
  /** A folder of both snapshots, or of one of them. Default: everything. */
  readonly path?: string;
}

/** One side of a change. */
export interface DiffSide {
  readonly type: NodeType;
  /** 0 for what is no file. */
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  /** Of a file: see BrowsedEntry. */
  readonly contentId?: string;
}

export interface DiffEntry {
  readonly path: string;
  readonly change: Change;
  /** Null when it was added. */
  readonly before: DiffSide | null;
  /** Null when it was removed. */
  readonly after: DiffSide | null;
  /** See BrowsedEntry: what is below an unsafe folder is not compared. */
  readonly isUnsafe: boolean;
}

/** How much of each kind, and the sizes of the files among it. */
export type DiffTotals = Readonly<Record<Change, number>> & {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
};

export interface SnapshotDiff {
  /** By path, name by name, a folder before what is in it. */
  readonly entries: readonly DiffEntry[];
  readonly next: string | null;
  /** Of the whole comparison, whatever the page. */
  readonly totals: DiffTotals;
}

/** Totals are 200 bytes; what they are of never changes. */
const maxHeldTotals = 256;

/** Compares snapshots of one repository. */
export class SnapshotDiffs {
  readonly #snapshots: SnapshotTrees;
  /** By both trees. */
  readonly #totals = new Map<string, DiffTotals>();

  constructor(snapshots: SnapshotTrees) {
    this.#snapshots = snapshots;
  }

  /** Errors: request_invalid, snapshot_missing, path_not_found when neither has the folder, repository_damaged, those of the storage. */
  async diff(beforeId: ObjectId, afterId: ObjectId, options: DiffOptions, signal: AbortSignal): Promise<SnapshotDiff> {
    assertPageLimit(options.limit);
    const { path = '/', after, limit } = options;
    const cursor = after === undefined ? null : namesOfPath(after, 'after');
    return await this.#snapshots.withTop(beforeId, signal, (beforeTop) =>
      this.#snapshots.withTop(afterId, signal, async (afterTop) => {
        const [before, behind] = await this.#findBoth(beforeTop, afterTop, path, signal);
        const key = `${before?.treeId} ${behind?.treeId}`;
        const known = this.#totals.get(key);
        const comparison = new Comparison(this.#snapshots, { signal, limit, cursor, stopsAtLimit: known !== undefined });
        await comparison.run((before ?? behind)?.path ?? '/', before?.treeId, behind?.treeId);
        const totals = known ?? comparison.totals;
        this.#hold(key, totals);
        return { entries: comparison.entries, next: comparison.hasMore ? (comparison.entries.at(-1)?.path ?? null) : null, totals };
      }),
    );
  }

  async #findBoth(
    beforeTop: ObjectId,
    afterTop: ObjectId,
    path: string,
    signal: AbortSignal,
  ): Promise<[FoundFolder | null, FoundFolder | null]> {
    const before = await this.#snapshots.tryFindFolder(beforeTop, path, signal);
    const after = await this.#snapshots.tryFindFolder(afterTop, path, signal);
    if (before !== null || after !== null) return [before, after];
    throw new HoldfastError('path_not_found', `neither snapshot has a folder ${path}`, { context: { path } });
  }

  #hold(key: string, totals: DiffTotals): void {
    this.#totals.delete(key);
    this.#totals.set(key, totals);
    for (const oldest of this.#totals.keys()) {
      if (this.#totals.size <= maxHeldTotals) break;
      this.#totals.delete(oldest);
    }
  }
}

interface ComparisonOptions {
  readonly signal: AbortSignal;
  readonly limit: number;
  readonly cursor: readonly string[] | null;
  /** Else it goes on, to count. */
  readonly stopsAtLimit: boolean;
}

class Comparison {
  readonly entries: DiffEntry[] = [];
  readonly totals = { added: 0, removed: 0, modified: 0, metadata: 0, type_changed: 0, bytesBefore: 0, bytesAfter: 0 };
  hasMore = false;
  readonly #snapshots: SnapshotTrees;
  readonly #options: ComparisonOptions;
  /** Its time is not limited, as that of a search: what is counted has to be counted whole. */
  readonly #breather = new Breather(Number.POSITIVE_INFINITY);

  constructor(snapshots: SnapshotTrees, options: ComparisonOptions) {
    this.#snapshots = snapshots;
    this.#options = options;
  }

  /** Goes through what is below two folders; one of them may not be there. */
  async run(path: string, beforeId: ObjectId | undefined, afterId: ObjectId | undefined): Promise<void> {
    const { signal, stopsAtLimit } = this.#options;
    if (beforeId === afterId || (stopsAtLimit && this.hasMore)) return;
    const [before, after] = await Promise.all([this.#listing(path, beforeId), this.#listing(path, afterId)]);
    for (const [old, now] of pairsOf(before, after)) {
      await this.#breather.pause(signal);
      await this.#compare(path, old, now);
    }
  }

  async #compare(folder: string, old: ListedNode | null, now: ListedNode | null): Promise<void> {
    const [oldNode, nowNode] = [old?.node, now?.node];
    const path = joinPath(folder, (nowNode ?? oldNode)?.name ?? '');
    const isUnsafe = old?.isUnsafe === true || now?.isUnsafe === true;
    let change: Change | null = oldNode === undefined ? 'added' : 'removed';
    if (oldNode !== undefined && nowNode !== undefined) change = changeOf(oldNode, nowNode);
    if (change !== null) this.#give({ path, change, before: sideOf(oldNode), after: sideOf(nowNode), isUnsafe });
    if (!isUnsafe) await this.run(path, folderOf(oldNode), folderOf(nowNode));
  }

  #give(entry: DiffEntry): void {
    const { limit, cursor } = this.#options;
    this.totals[entry.change]++;
    this.totals.bytesBefore += entry.before?.sizeBytes ?? 0;
    this.totals.bytesAfter += entry.after?.sizeBytes ?? 0;
    if (cursor !== null && compareNamesOf(entry.path.slice(1).split('/'), cursor) <= 0) return;
    if (this.entries.length < limit) this.entries.push(entry);
    else this.hasMore = true;
  }

  async #listing(path: string, id: ObjectId | undefined): Promise<TreeListing | null> {
    if (id === undefined) return null;
    try {
      return await this.#snapshots.trees.listing(id, this.#options.signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      throw new HoldfastError(error.code, `${path} cannot be compared: ${error.message}`, { cause: error, context: { path } });
    }
  }
}

/** The entries of two trees by name; one without the other where only one has the name. Those that are written alike are left out, with all below. */
function* pairsOf(
  before: TreeListing | null,
  after: TreeListing | null,
): Generator<[ListedNode | null, ListedNode | null], void, undefined> {
  let [a, b] = [0, 0];
  while (a < (before?.count ?? 0) || b < (after?.count ?? 0)) {
    const order = orderOf(before, a, after, b);
    const isSame = order === 0 && before !== null && after !== null && before.isSameAt(a, after, b);
    if (!isSame) yield [order <= 0 ? (before?.at(a) ?? null) : null, order >= 0 ? (after?.at(b) ?? null) : null];
    if (order <= 0) a++;
    if (order >= 0) b++;
  }
}

function orderOf(before: TreeListing | null, a: number, after: TreeListing | null, b: number): number {
  if (before === null || a >= before.count) return 1;
  if (after === null || b >= after.count) return -1;
  return compareNames(before.nameAt(a), after.nameAt(b));
}

function folderOf(node: ListedNode['node'] | undefined): ObjectId | undefined {
  return node?.type === 'dir' ? node.subtree : undefined;
}

function sideOf(node: ListedNode['node'] | undefined): DiffSide | null {
  if (node === undefined) return null;
  const { type, sizeBytes = 0, modifiedNs, content } = node;
  return type === 'file' ? { type, sizeBytes, modifiedNs, contentId: contentIdOf(content ?? []) } : { type, sizeBytes: 0, modifiedNs };
}

/** Paths by their names, in the order of trees: negative, zero or positive. */
function compareNamesOf(a: readonly string[], b: readonly string[]): number {
  for (let nth = 0; nth < Math.min(a.length, b.length); nth++) {
    const difference = compareNames(a[nth] ?? '', b[nth] ?? '');
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
