import type { ObjectId } from '@holdfast/restic-format/object-id';
import { leftOut, notTaken } from '@holdfast/sources/folder-record';
import { modeWord, wordsPerStat } from '@holdfast/sources/stat-words';
import { pathFromBytes } from '@holdfast/sources/system-path';
import { constants } from 'node:fs';
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
  /** The entries of folders that were `listed` and are not what they were. */
  readonly changed: ReadonlyMap<number, readonly number[]>;
  /** Of all those entries: how many, and their sizes now. */
  readonly changedCount: number;
  readonly changedBytes: number;
  /** Folders that have to be listed anew: nobody knows how much there is in them. */
  readonly unlistedCount: number;
  /** Of a folder that is the same, with all below it; of one that is `listed`, what is the same in it. */
  totalsOf(folder: number): Totals;
}

/** An entry that is what it was. */
export interface KeptEntry {
  readonly name: string;
  /** Among the entries. */
  readonly place: number;
  readonly isFolder: boolean;
  /** When it is a folder that was recorded. */
  readonly known: KnownFolder | undefined;
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

  child(name: string): KnownFolder | undefined {
    this.#children ??= new Map([...this.#eachChild()].map(([, childName, child]) => [childName, child]));
    return this.#children.get(name);
  }

  /** The folders in it by their places. */
  childrenByPlace(): Map<number, KnownFolder> {
    return new Map([...this.#eachChild()].map(([place, , child]) => [place, child]));
  }

  /** The entries that were in the backup and are what they were, and the places of those to be looked at by their names. In no order. */
  split(): { kept: KeptEntry[]; changed: Map<string, number> } {
    const { names, stats } = this.record;
    const children = this.childrenByPlace();
    const changedPlaces = new Set(this.compared.changed.get(this.folder));
    const kept: KeptEntry[] = [];
    const changed = new Map<string, number>();
    for (let [place, at] = [0, 0]; at < names.length; place++) {
      const end = names.indexOf(0, at);
      const mode = stats[place * wordsPerStat + modeWord] ?? leftOut;
      const name = (): string => pathFromBytes(names.subarray(at, end));
      if (changedPlaces.has(place)) changed.set(name(), place);
      else if (mode !== leftOut && (mode & notTaken) === 0) {
        const isFolder = (mode & constants.S_IFMT) === constants.S_IFDIR;
        kept.push({ name: name(), place, isFolder, known: isFolder ? children.get(place) : undefined });
      }
      at = end + 1;
    }
    return { kept, changed };
  }

  *#eachChild(): Generator<[number, string, KnownFolder]> {
    const { folders, childNames } = this.compared;
    const { childStarts, childEntries, childFolders, names } = folders;
    for (let nth = childStarts[this.folder] ?? 0; nth < (childStarts[this.folder + 1] ?? 0); nth++) {
      const start = childNames[nth] ?? 0;
      const name = pathFromBytes(names.subarray(start, names.indexOf(0, start)));
      yield [childEntries[nth] ?? 0, name, new KnownFolder(this.compared, childFolders[nth] ?? 0)];
    }
  }
}
