import type { ObjectId } from '@holdfast/restic-format/object-id';
import { HeldValues } from './held-values.ts';
import { NameTable } from './name-table.ts';
import { treeNamesOf, type TreeNames } from './tree-names.ts';
import type { TreeStore } from './tree-store.ts';

/** Of the memory that a search may hold, what its names may take; the rest is for what trees say of them. */
const namesShare = 0.25;

/** The names in trees that were searched, by tree: what a search of many snapshots reads again and again. */
export class NameIndex {
  readonly #trees: TreeStore;
  readonly #maxBytes: number;
  #names: IndexedNames;

  constructor(trees: TreeStore, maxBytes: number) {
    this.#trees = trees;
    this.#maxBytes = maxBytes;
    this.#names = this.#begin();
  }

  /** To be asked for anew for each folder: a table of names only grows, and is left for a new one when it is too large. */
  get current(): IndexedNames {
    if (this.#names.table.heldBytes > this.#maxBytes * namesShare) this.#names = this.#begin();
    return this.#names;
  }

  #begin(): IndexedNames {
    return new IndexedNames(this.#trees, this.#maxBytes * (1 - namesShare));
  }
}

/** Trees whose names have their numbers in one table. */
export class IndexedNames {
  readonly table = new NameTable();
  readonly #trees: TreeStore;
  readonly #held: HeldValues<ObjectId, TreeNames>;

  constructor(trees: TreeStore, maxBytes: number) {
    this.#trees = trees;
    this.#held = new HeldValues(maxBytes);
  }

  /** When it is in memory. */
  peek(id: ObjectId): TreeNames | undefined {
    return this.#held.get(id);
  }

  /** Errors: those of TreeStore.read. */
  async load(id: ObjectId, signal: AbortSignal): Promise<TreeNames> {
    const names = await this.#trees.read(id, signal, (bytes) => treeNamesOf(bytes, this.table));
    this.#held.set(id, names);
    return names;
  }
}
