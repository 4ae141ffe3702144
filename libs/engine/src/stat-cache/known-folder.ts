import type { ObjectId } from '@holdfast/restic-format/object-id';
import { wordsPerStat } from '@holdfast/sources/stat-words';
import { pathFromBytes } from '@holdfast/sources/system-path';
import { treeIdOf, type CachedFolders } from './cached-folders.ts';

/** What the comparison of a folder with its record gave. `unlisted`: it has to be listed anew, or was not even found. */
export const found = { unlisted: 0, same: 1, listed: 2 } as const;

/** Files, their bytes, and folders. */
export interface Totals {
  readonly files: number;
  readonly bytes: number;
  readonly folders: number;
}

export interface ComparedFolders {
  readonly folders: CachedFolders;
  /** One of `found` a folder. */
  readonly results: Uint8Array;
  /** Of each child, where its name begins. */
  readonly childNames: Uint32Array;
  /** The entries of folders that were `listed` that are not what they were, and folders that have to be listed. */
  readonly changed: ReadonlyMap<number, readonly ChangedEntry[]>;
  /** Of all those entries: how many, and their sizes now. */
  readonly changedCount: number;
  readonly changedBytes: number;
  /** Folders that have to be listed anew: nobody knows how much there is in them. */
  readonly unlistedCount: number;
  /** Of a folder that is the same, with all below it; of one that is `listed`, what is the same in it. */
  totalsOf(folder: number): Totals;
}

export interface ChangedEntry {
  /** Among the entries of its folder. */
  readonly place: number;
  /** Where its name begins. */
  readonly nameAt: number;
}

/** A folder in another one. */
export interface KnownChild {
  readonly place: number;
  readonly name: string;
  readonly folder: KnownFolder;
}

/** A folder of the last backup, after its comparison. */
export class KnownFolder {
  readonly compared: ComparedFolders;
  readonly folder: number;
  #children: Map<string, KnownFolder> | undefined;

  constructor(compared: ComparedFolders, folder: number) {
    this.compared = compared;
    this.folder = folder;
  }

  /** It and all below are what they were: its tree is `treeId`. */
  get isSame(): boolean {
    return this.compared.results[this.folder] === found.same;
  }

  /** It has the same names, so only its `changed` entries and folders have to be looked at. */
  get isListed(): boolean {
    return this.compared.results[this.folder] === found.listed;
  }

  /** Its tree in the last backup. */
  get treeId(): ObjectId {
    return treeIdOf(this.compared.folders, this.folder);
  }

  get totals(): Totals {
    return this.compared.totalsOf(this.folder);
  }

  get record(): { names: Uint8Array; stats: Uint32Array; isChosen: boolean } {
    const { names, stats, nameStarts, entryStarts, chosen } = this.compared.folders;
    return {
      names: names.subarray(nameStarts[this.folder], nameStarts[this.folder + 1]),
      stats: stats.subarray((entryStarts[this.folder] ?? 0) * wordsPerStat, (entryStarts[this.folder + 1] ?? 0) * wordsPerStat),
      isChosen: chosen[this.folder] === 1,
    };
  }

  /** The names and places of the entries that have to be looked at. */
  get changed(): Map<string, number> {
    const entries = this.compared.changed.get(this.folder) ?? [];
    return new Map(entries.map(({ place, nameAt }) => [nameFrom(this.compared.folders.names, nameAt), place]));
  }

  child(name: string): KnownFolder | undefined {
    this.#children ??= new Map([...this.children()].map((child) => [child.name, child.folder]));
    return this.#children.get(name);
  }

  /** Those that were recorded, in the order of their places. Names are decoded when they are asked for. */
  *children(): Generator<KnownChild> {
    const { compared } = this;
    const { childStarts, childEntries, childFolders, names } = compared.folders;
    for (let nth = childStarts[this.folder] ?? 0; nth < (childStarts[this.folder + 1] ?? 0); nth++) {
      yield {
        place: childEntries[nth] ?? 0,
        folder: new KnownFolder(compared, childFolders[nth] ?? 0),
        get name() {
          return nameFrom(names, compared.childNames[nth] ?? 0);
        },
      };
    }
  }
}

function nameFrom(names: Uint8Array, start: number): string {
  return pathFromBytes(names.subarray(start, names.indexOf(0, start)));
}
