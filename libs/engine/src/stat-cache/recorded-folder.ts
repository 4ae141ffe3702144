import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { FolderRecord } from '@holdfast/sources/folder-record';
import { treeIdOf, type FolderToCache } from './cached-folders.ts';
import type { KnownFolder } from './known-folder.ts';

interface ChildToCache {
  readonly place: number;
  readonly folder: RecordedFolder | KnownFolder;
}

/** What a walk saw of a folder, for the next backup to compare with. */
export class RecordedFolder {
  readonly record: FolderRecord;
  /** Once it is stored. */
  treeId: ObjectId | undefined;
  /** By their places: folders that were walked as well, and those of the last backup that are wholly the same. */
  readonly #children = new Map<number, RecordedFolder | KnownFolder>();

  constructor(record: FolderRecord) {
    this.record = record;
  }

  /** Takes in a folder that is at a place in it. Those without a place or a record are not kept: they are listed anew each time. */
  keep(place: number | undefined, child: RecordedFolder | KnownFolder | undefined): void {
    if (place !== undefined && child !== undefined) this.#children.set(place, child);
  }

  /** What is at the place is not in the tree, though it may look as if nothing had changed. */
  spoil(place: number | undefined): void {
    if (place !== undefined) this.record.spoilAt(place);
  }

  /** Nothing more is to come. */
  close(treeId: ObjectId): void {
    this.treeId = treeId;
    this.record.seal();
  }

  /** It and all below in an order in which each stands before those in it; null when the folder itself was not recorded. */
  flatten(): FolderToCache[] | null {
    const folders: FolderToCache[] = [];
    return addRecorded(folders, this) === null ? null : folders;
  }

  children(): ChildToCache[] {
    const children = [...this.#children].map(([place, folder]) => ({ place, folder }));
    return children.toSorted((a, b) => a.place - b.place);
  }
}

/** Adds it and all below; gives its number. */
function addRecorded(folders: FolderToCache[], folder: RecordedFolder): number | null {
  const { record, treeId } = folder;
  if (record.names === undefined || treeId === undefined) return null;
  const { names, stats, isChosen } = record;
  return addFolder(folders, { treeId: Buffer.from(treeId, 'hex'), names, stats, isChosen }, folder.children());
}

function addKnown(folders: FolderToCache[], known: KnownFolder): number {
  const { compared, folder, record } = known;
  return addFolder(folders, { treeId: Buffer.from(treeIdOf(compared.folders, folder), 'hex'), ...record }, known.children());
}

function addFolder(folders: FolderToCache[], folder: Omit<FolderToCache, 'children'>, below: Iterable<ChildToCache>): number {
  const number = folders.length;
  const children: [number, number][] = [];
  folders.push({ ...folder, children });
  for (const { place, folder: child } of below) {
    const added = child instanceof RecordedFolder ? addRecorded(folders, child) : addKnown(folders, child);
    if (added !== null) children.push([place, added]);
  }
  return number;
}
