import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { compareNames } from '@holdfast/restic-format/file-name';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { FolderRecord } from '@holdfast/sources/folder-record';
import type { Source, SourceEntry } from '@holdfast/sources/source';
import type { BlobLoader } from './blob-loader.ts';
import type { Clock } from './clock.ts';
import { loadParentFolder, type ParentFolder } from './parent.ts';
import type { KeptEntry, KnownFolder, Totals } from './stat-cache/known-folder.ts';
import { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface FolderListerOptions {
  readonly source: Source;
  readonly loader: BlobLoader;
  readonly signal: AbortSignal;
  readonly onWarning: (message: string) => void;
  /** Of the files' time stamps. Present when what is seen is to be recorded. */
  readonly recordClock?: Clock | undefined;
}

/** Beside what a source lists: an entry that is certainly what it was, with its text in the parent's tree. */
export type ListedEntry = SourceEntry | KeptListedEntry;

export interface KeptListedEntry extends KeptEntry {
  readonly kind: 'kept';
  readonly text: string;
}

export interface ListedFolder {
  /** Sorted by the bytes of their names. */
  readonly entries: readonly ListedEntry[];
  readonly parent: ParentFolder;
  readonly recorded: RecordedFolder | undefined;
  readonly known: KnownFolder | undefined;
  /** When there are kept entries: what they come to. */
  readonly kept?: Totals;
}

/** Lists a folder for the walk: all of it, or of one that is known only what has changed. Errors: as Source.readDirectory, those of the storage. */
export async function listFolderForWalk(
  path: string,
  parentTreeId: ObjectId | undefined,
  known: KnownFolder | undefined,
  options: FolderListerOptions,
): Promise<ListedFolder> {
  const onDamaged = (reason: string): void => options.onWarning(`the parent's ${path} is not used: ${reason}`);
  const parent = await loadParentFolder(options.loader, known?.isListed ? known.treeId : parentTreeId, { signal: options.signal, onDamaged });
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
  const { kept, changed } = known.split();
  const entries: ListedEntry[] = [];
  for (const entry of kept) {
    const text = parent.text(entry.name);
    if (text === undefined) return null;
    entries.push({ kind: 'kept', text, ...entry });
  }
  const nowMs = options.recordClock?.now().getTime();
  const record = nowMs === undefined ? undefined : FolderRecord.revised(nowMs, known.record, changed);
  if (changed.size > 0) {
    const names = new Set(changed.keys());
    entries.push(...(await readDirectory(path, parent, options, { names, ...(record && { record }) })));
  }
  entries.sort((a, b) => compareNames(nameOf(a), nameOf(b)));
  return { entries, parent, known, kept: known.totals, recorded: record && new RecordedFolder(record) };
}

/** What is skipped is no part of the tree and may stand anywhere. */
function nameOf(entry: ListedEntry): string {
  if (entry.kind === 'kept') return entry.name;
  return entry.kind === 'node' ? entry.node.name : '';
}

async function readDirectory(
  path: string,
  parent: ParentFolder,
  { source, signal }: FolderListerOptions,
  wanted: { names?: ReadonlySet<string>; record?: FolderRecord },
): Promise<SourceEntry[]> {
  const attributesBefore = (name: string, inode: bigint, changedNs: bigint) => parent.attributes(name, inode, changedNs);
  return await source.readDirectory(path, { signal, attributesBefore, ...wanted });
}

/** Whether a folder could not be listed for a reason of its own: it is left out then, and the backup goes on. */
export function isUnlistable(error: unknown): error is Error {
  return isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable');
}
