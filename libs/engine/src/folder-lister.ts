import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { FolderRecord } from '@holdfast/sources/folder-record';
import type { Source, SourceEntry } from '@holdfast/sources/source';
import type { BlobLoader } from './blob-loader.ts';
import type { Clock } from './clock.ts';
import { loadParentFolder, type ParentFolder } from './parent.ts';
import type { KnownChild, KnownFolder, Totals } from './stat-cache/known-folder.ts';
import { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface FolderListerOptions {
  readonly source: Source;
  readonly loader: BlobLoader;
  readonly signal: AbortSignal;
  readonly onWarning: (message: string) => void;
  /** Of the files' time stamps. Present when what is seen is to be recorded. */
  readonly recordClock?: Clock | undefined;
}

/** What is certainly as it was in a folder of which only a part is listed. */
export interface KeptEntries {
  readonly totals: Totals;
  /** Those that were looked at anew: all others are kept. */
  readonly changed: ReadonlyMap<string, number>;
  /** Folders that are what they were, with what is below or without. */
  readonly folders: readonly KeptFolder[];
}

export interface KeptFolder extends KnownChild {
  /** Of its node in the parent. */
  readonly text: string;
}

export interface ListedFolder {
  /** Sorted by the bytes of their names. */
  readonly entries: readonly SourceEntry[];
  readonly parent: ParentFolder;
  readonly recorded: RecordedFolder | undefined;
  readonly known: KnownFolder | undefined;
  /** Present when `entries` are not all. */
  readonly kept?: KeptEntries;
}

/** Lists a folder for the walk: all of it, or of one that is known only what has changed. Errors: as Source.readDirectory, those of the storage. */
export async function listFolderForWalk(
  path: string,
  parentTreeId: ObjectId | undefined,
  known: KnownFolder | undefined,
  options: FolderListerOptions,
): Promise<ListedFolder> {
  const onDamaged = (reason: string): void => options.onWarning(`the parent's ${path} is not used: ${reason}`);
  const parent = await loadParentFolder(options.loader, known?.isListed ? known.treeId : parentTreeId, {
    signal: options.signal,
    onDamaged,
  });
  const partly = known?.isListed ? await listChanged(path, known, parent, options) : null;
  if (partly !== null) return partly;
  const record = options.recordClock && new FolderRecord(options.recordClock.now().getTime());
  const entries = await readDirectory(path, parent, options, { ...(record && { record }) });
  return { entries, parent, known, recorded: record && new RecordedFolder(record) };
}

/** Null when the parent's tree does not hold what it should: the folder has to be listed as a whole. */
async function listChanged(
  path: string,
  known: KnownFolder,
  parent: ParentFolder,
  options: FolderListerOptions,
): Promise<ListedFolder | null> {
  const { changed, totals } = known;
  if (parent.treeId === undefined) return null;
  const changedPlaces = new Set(changed.values());
  const folders: KeptFolder[] = [];
  const nowMs = options.recordClock?.now().getTime();
  const recorded = nowMs === undefined ? undefined : new RecordedFolder(FolderRecord.revised(nowMs, known.record, changed));
  for (const child of known.children()) {
    if (changedPlaces.has(child.place)) continue;
    // Most are wholly the same: of them nothing is needed.
    const text = child.folder.isSame ? '' : parent.text(child.name);
    if (text === undefined) return null;
    folders.push({ place: child.place, name: child.folder.isSame ? '' : child.name, folder: child.folder, text });
  }
  const record = recorded && { record: recorded.record };
  const entries = changed.size === 0 ? [] : await readDirectory(path, parent, options, { names: new Set(changed.keys()), ...record });
  return { entries, parent, known, recorded, kept: { totals, changed, folders } };
}

async function readDirectory(
  path: string,
  parent: ParentFolder,
  { source, signal }: FolderListerOptions,
  wanted: { names?: ReadonlySet<string>; record?: FolderRecord },
): Promise<SourceEntry[]> {
  const attributesBefore = (name: string, inode: bigint, changedNs: bigint) => parent.attributes(name, inode, changedNs);
  return await source.readDirectory(path, { signal, attributesBefore, leavesFileAttributes: true, ...wanted });
}

/** Whether a folder could not be listed for a reason of its own: it is left out then, and the backup goes on. */
export function isUnlistable(error: unknown): error is Error {
  return isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable');
}
