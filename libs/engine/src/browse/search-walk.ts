import type { ObjectId } from '@holdfast/restic-format/object-id';
import { isDamage } from '../damage.ts';
import { forEachConcurrently } from '../slots.ts';
import type { Breather } from './breather.ts';
import { pathOfNames } from './browse-path.ts';
import { FolderEntries, type FolderName, type FoundNode, type NameBound } from './folder-entries.ts';
import type { IndexedNames, NameIndex } from './name-index.ts';
import type { ParsedQuery, PatternState } from './search-query.ts';
import { joinRuns } from './snapshot-runs.ts';
import type { TreeNames } from './tree-names.ts';

export interface SearchWalkOptions {
  readonly query: ParsedQuery;
  readonly names: NameIndex;
  readonly breather: Breather;
  readonly signal: AbortSignal;
  /** Gives false when no more is wanted: the path it was given is not counted as given then. */
  readonly onFound: (path: string, nodes: readonly FoundNode[]) => boolean;
  /** A folder that cannot be read in some of the snapshots. */
  readonly onUnreadable: (path: string, reason: string) => void;
}

/** The trees that a path has, each with the snapshots that have it there. */
export type TreeRuns = ReadonlyMap<ObjectId, readonly number[]>;

/** Trees on their way at once: hides a network's latency. Each takes the memory of a window. */
const concurrentLoads = 16;

/** Of a folder that has a tree of its own in each of many snapshots, so many are in use at once. */
const loadedAtOnce = 64;

/**
 * Goes through the trees of many snapshots at once, path by path in the order of their names, each folder before what is in it: of a tree that
 * several snapshots share at a path, entries are looked at once.
 */
export class SearchWalk {
  readonly #options: SearchWalkOptions;
  /** Where the next page begins, when this one has ended before everything was seen. */
  stoppedAt: string | null = null;
  #lastPath: string | null = null;
  #folderCount = 0;

  constructor(options: SearchWalkOptions) {
    this.#options = options;
  }

  /** Errors: those of the storage, and the signal's reason. */
  async run(tops: TreeRuns): Promise<void> {
    const { query } = this.#options;
    await this.#visit([], tops, query.states.first, query.cursor?.names ?? null);
  }

  /**
   * The folder of `names`. `after` are the names of the cursor below it, none when it is the folder itself; null when the cursor lies before.
   * Gives false when the page has ended.
   */
  async #visit(names: readonly string[], trees: TreeRuns, state: PatternState, after: readonly string[] | null): Promise<boolean> {
    const { query, breather, signal } = this.#options;
    signal.throwIfAborted();
    const isNew = after === null || after.length === 0;
    if (isNew && this.#folderCount > 0 && breather.isOverdue) return this.#stop(pathOfNames(names));
    if (isNew) this.#folderCount++;
    const [first] = after ?? [];
    for await (const entry of this.#entriesOf(names, trees, state, first)) {
      const path = [...names, entry.name];
      const isOnCursor = first === entry.name;
      if (!isOnCursor && entry.nodes.length > 0 && !this.#give(pathOfNames(path), entry.nodes)) return false;
      const isDone = isOnCursor && after?.length === 1 && query.cursor?.isWhole === true;
      if (entry.trees === null || isDone) continue;
      const below = isOnCursor ? (after?.slice(1) ?? []) : null;
      if (!(await this.#visit(path, joined(entry.trees), entry.state, below))) return false;
      this.#lastPath = `${pathOfNames(path)}/`;
    }
    return true;
  }

  #give(path: string, nodes: readonly FoundNode[]): boolean {
    if (!this.#options.onFound(path, nodes)) return this.#stop(this.#lastPath);
    this.#lastPath = path;
    return true;
  }

  #stop(at: string | null): false {
    this.stoppedAt = at;
    return false;
  }

  /** What the search goes on with in a folder, from the name `first` on, in order. */
  async *#entriesOf(
    names: readonly string[],
    trees: TreeRuns,
    state: PatternState,
    first: string | undefined,
  ): AsyncGenerator<FolderName, void, undefined> {
    const ids = [...trees.keys()];
    for (let from: NameBound | null = { name: first ?? '', isIncluded: true }; from !== null;) {
      const current = this.#options.names.current;
      const folder = new FolderEntries(this.#options.query, current.table, { from, state, depth: names.length });
      for (let nth = 0; nth < ids.length; nth += loadedAtOnce) {
        const some = ids.slice(nth, nth + loadedAtOnce);
        const loaded = await this.#load(current, names, some);
        for (const id of some) {
          const tree = loaded.get(id);
          if (tree === undefined) continue;
          folder.add(tree, trees.get(id) ?? []);
          await this.#options.breather.pause(this.#options.signal);
        }
      }
      yield* folder.inOrder();
      from = folder.cut === null ? null : { name: folder.cut, isIncluded: false };
    }
  }

  async #load(current: IndexedNames, names: readonly string[], ids: readonly ObjectId[]): Promise<Map<ObjectId, TreeNames>> {
    const { signal, onUnreadable } = this.#options;
    const loaded = new Map<ObjectId, TreeNames>();
    const missing: ObjectId[] = [];
    for (const id of ids) {
      const held = current.peek(id);
      if (held === undefined) missing.push(id);
      else loaded.set(id, held);
    }
    await forEachConcurrently(missing, concurrentLoads, async (id) => {
      try {
        loaded.set(id, await current.load(id, signal));
      } catch (error) {
        if (!isDamage(error)) throw error;
        onUnreadable(pathOfNames(names), error.message);
      }
    });
    return loaded;
  }
}

function joined(trees: ReadonlyMap<ObjectId, number[]>): TreeRuns {
  return new Map([...trees].map(([id, runs]) => [id, joinRuns(runs)]));
}
