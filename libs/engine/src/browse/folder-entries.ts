import { compareNames } from '@holdfast/restic-format/file-name';
import { nodeTypes, type NodeType } from '@holdfast/restic-format/node';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { NameTable } from './name-table.ts';
import type { ParsedQuery, PatternState } from './search-query.ts';
import type { SnapshotRuns } from './snapshot-runs.ts';
import { unsafeMark, type TreeNames } from './tree-names.ts';

/** What one snapshot, or several that have the same there, say of a path. */
export interface FoundNode {
  readonly type: NodeType;
  /** 0 for what is no file. */
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  readonly contentId: string | undefined;
  readonly isUnsafe: boolean;
  /** See snapshot-runs.ts; of several trees, in any order. */
  readonly runs: number[];
}

/** An entry of a folder that the search goes on with. */
export interface FolderName {
  readonly name: string;
  readonly state: PatternState;
  /** What is found under it; one that is the same in several trees is there once for each stretch of them. */
  readonly nodes: FoundNode[];
  /** Its trees to go on into, each with the snapshots that have it. */
  trees: Map<ObjectId, number[]> | null;
}

export interface NameBound {
  readonly name: string;
  readonly isIncluded: boolean;
}

export interface FolderEntriesOptions {
  readonly from: NameBound;
  readonly state: PatternState;
  /** How many names lead to the folder. */
  readonly depth: number;
}

/** So many entries of a folder are in hand at once: a folder of a million is gone through in parts. */
const maxEntries = 4096;

const folderType = nodeTypes.indexOf('dir');

/** The entries of one path in the trees that it has in several snapshots, as far as a search goes on with them. */
export class FolderEntries {
  readonly #query: ParsedQuery;
  readonly #table: NameTable;
  readonly #options: FolderEntriesOptions;
  readonly #entries = new Map<number, FolderName>();
  /** The number of the only name that is wanted, on the way to where the search begins. */
  readonly #only: number | null;
  /** The last name that every tree was asked for; null when all were asked for all. */
  cut: string | null = null;

  constructor(query: ParsedQuery, table: NameTable, options: FolderEntriesOptions) {
    this.#query = query;
    this.#table = table;
    this.#options = options;
    const onlyName = query.below[options.depth];
    this.#only = onlyName === undefined ? null : table.numberOfName(onlyName);
  }

  /** `tree` has its names in the table. */
  add(tree: TreeNames, runs: SnapshotRuns): void {
    const { states, types } = this.#query;
    let count = 0;
    for (let place = this.#firstPlace(tree); place < tree.count; place++) {
      const number = tree.names[place] ?? 0;
      if (this.#only !== null && number !== this.#only) continue;
      const state = states.next(this.#options.state, this.#table, number);
      const typeBits = tree.types[place] ?? 0;
      const isWanted = state.isMatch && this.#only === null && (types & (1 << (typeBits & ~unsafeMark))) !== 0;
      const subtree = state.goesOn && typeBits === folderType ? tree.subtreeAt(place) : undefined;
      if (!isWanted && subtree === undefined) continue;
      const entry = this.#entryOf(number, state);
      if (isWanted) addNode(entry.nodes, tree, place, runs);
      if (subtree !== undefined) addTree(entry, subtree, runs);
      if (++count < maxEntries) continue;
      if (place + 1 < tree.count) this.#cutAt(entry.name);
      return;
    }
  }

  /** Up to the cut, by name. */
  inOrder(): FolderName[] {
    const { cut } = this;
    const entries = [...this.#entries.values()].toSorted((a, b) => compareNames(a.name, b.name));
    return cut === null ? entries : entries.filter(({ name }) => compareNames(name, cut) <= 0);
  }

  #firstPlace(tree: TreeNames): number {
    const { name: bound, isIncluded } = this.#options.from;
    let low = 0;
    for (let high = bound === '' ? 0 : tree.count; low < high;) {
      const middle = (low + high) >> 1;
      const difference = compareNames(this.#table.nameOf(tree.names[middle] ?? 0), bound);
      if (difference < 0 || (difference === 0 && !isIncluded)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #cutAt(name: string): void {
    if (this.cut === null || compareNames(name, this.cut) < 0) this.cut = name;
  }

  #entryOf(number: number, state: PatternState): FolderName {
    const known = this.#entries.get(number);
    if (known !== undefined) return known;
    const entry: FolderName = { name: this.#table.nameOf(number), state, nodes: [], trees: null };
    this.#entries.set(number, entry);
    return entry;
  }
}

function addNode(nodes: FoundNode[], tree: TreeNames, place: number, runs: SnapshotRuns): void {
  const last = nodes.at(-1);
  const type = tree.typeAt(place);
  const [sizeBytes, contentId] = type === 'file' ? [tree.sizeAt(place), tree.contentIdAt(place)] : [0, undefined];
  const [modifiedNs, isUnsafe] = [tree.modifiedNsAt(place), tree.isUnsafeAt(place)];
  // From one snapshot to the next most entries of a folder stay what they are.
  const isSame = last?.type === type && last.sizeBytes === sizeBytes && last.modifiedNs === modifiedNs && last.contentId === contentId;
  if (last !== undefined && isSame) for (const number of runs) last.runs.push(number);
  else nodes.push({ type, sizeBytes, modifiedNs, contentId, isUnsafe, runs: [...runs] });
}

function addTree(entry: FolderName, id: ObjectId, runs: SnapshotRuns): void {
  const trees = (entry.trees ??= new Map());
  const known = trees.get(id);
  if (known === undefined) trees.set(id, [...runs]);
  else for (const number of runs) known.push(number);
}
