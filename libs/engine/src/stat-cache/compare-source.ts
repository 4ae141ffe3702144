import type { FolderComparison } from '@holdfast/sources/folder-comparison';
import { leftOut, notTaken } from '@holdfast/sources/folder-record';
import type { SourceRecords } from '@holdfast/sources/source';
import { modeWord, sizeWord, wordsPerStat } from '@holdfast/sources/stat-words';
import { constants } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { CachedFolders } from './cached-folders.ts';
import { found, KnownFolder, type ChangedEntry, type ComparedFolders, type Totals } from './known-folder.ts';

/** The comparison blocks its thread; whatever else opens the repository meanwhile gets a turn so often. */
const breathIntervalMs = 1;

export interface CompareOptions {
  readonly signal?: AbortSignal | undefined;
  /** Asked at every breath: the comparison goes on when it resolves. */
  readonly pause?: () => Promise<void>;
}

/**
 * Compares every folder that was recorded with what it is now. Undefined where the source cannot. Aborts with the signal's reason.
 */
export async function compareSource(
  records: SourceRecords,
  folders: CachedFolders,
  { signal, pause }: CompareOptions = {},
): Promise<KnownFolder | undefined> {
  using comparison = records.openComparison();
  if (comparison === undefined || folders.count === 0) return undefined;
  const compare = new Compare(comparison, folders, records.hasTags);
  let breathedAtMs = performance.now();
  while (compare.step()) {
    if (performance.now() - breathedAtMs < breathIntervalMs) continue;
    await setImmediate();
    await pause?.();
    signal?.throwIfAborted();
    breathedAtMs = performance.now();
  }
  return new KnownFolder(compare, 0);
}

type Sum = { -readonly [Name in keyof Totals]: number };

/** A folder that is open, with the sums of what is the same in it, and in those folders in it that are wholly the same. */
interface Frame {
  readonly folder: number;
  nextChild: number;
  isListed: boolean;
  isSame: boolean;
  readonly own: Sum;
  readonly below: Sum;
}

const nothing: Totals = { files: 0, bytes: 0, folders: 0 };

function add(to: Sum, { files, bytes, folders }: Totals): void {
  to.files += files;
  to.bytes += bytes;
  to.folders += folders;
}

class Compare implements ComparedFolders {
  readonly folders: CachedFolders;
  readonly results: Uint8Array;
  readonly childNames: Uint32Array;
  readonly changed = new Map<number, ChangedEntry[]>();
  changedCount = 0;
  changedBytes = 0;
  unlistedCount = 0;
  readonly #comparison: FolderComparison;
  readonly #hasTags: boolean;
  readonly #frames: Frame[] = [];
  readonly #files: Uint32Array;
  readonly #bytes: Float64Array;
  readonly #folders: Uint32Array;

  constructor(comparison: FolderComparison, folders: CachedFolders, hasTags: boolean) {
    this.folders = folders;
    this.results = new Uint8Array(folders.count);
    this.childNames = new Uint32Array(folders.childFolders.length);
    this.#comparison = comparison;
    this.#hasTags = hasTags;
    this.#files = new Uint32Array(folders.count);
    this.#bytes = new Float64Array(folders.count);
    this.#folders = new Uint32Array(folders.count);
    this.#open(0);
  }

  totalsOf(folder: number): Totals {
    return { files: this.#files[folder] ?? 0, bytes: this.#bytes[folder] ?? 0, folders: this.#folders[folder] ?? 0 };
  }

  /** Goes on by one folder; false when all are done. */
  step(): boolean {
    const frame = this.#frames.at(-1);
    if (frame === undefined) return false;
    const { childStarts, childFolders, names } = this.folders;
    if (frame.nextChild < (childStarts[frame.folder + 1] ?? 0)) {
      const child = frame.nextChild++;
      if (this.#comparison.enter(names, this.childNames[child] ?? 0)) this.#open(childFolders[child] ?? 0);
      else {
        frame.isSame = false;
        this.unlistedCount++;
      }
      return true;
    }
    this.#close(frame);
    return this.#frames.length > 0;
  }

  #open(folder: number): void {
    const { names, nameStarts, childStarts, chosen } = this.folders;
    const isListed = chosen[folder] === 1 || this.#comparison.listsAs(names, nameStarts[folder] ?? 0, nameStarts[folder + 1] ?? 0);
    const [own, below] = [{ ...nothing }, { ...nothing }];
    const frame: Frame = { folder, nextChild: childStarts[folder] ?? 0, isListed, isSame: isListed, own, below };
    this.#compareEntries(frame);
    // Whether the others are shown may hang on one that has changed.
    if (this.#hasTags && this.changed.has(folder)) frame.isListed = false;
    this.#frames.push(frame);
  }

  #compareEntries(frame: Frame): void {
    const { names, nameStarts, entryStarts, childStarts, childEntries, stats } = this.folders;
    const { folder } = frame;
    const [first, end, lastChild] = [entryStarts[folder] ?? 0, entryStarts[folder + 1] ?? 0, childStarts[folder + 1] ?? 0];
    let nameAt = nameStarts[folder] ?? 0;
    let child = childStarts[folder] ?? 0;
    for (let entry = first; entry < end; entry++) {
      const isChild = child < lastChild && childEntries[child] === entry - first;
      if (isChild) this.childNames[child++] = nameAt;
      if (frame.isListed) {
        const at = entry * wordsPerStat;
        if (this.#comparison.isSame(names, nameAt, stats, at)) this.#addSame(frame, at, isChild, { place: entry - first, nameAt });
        else this.#addChanged(frame, { place: entry - first, nameAt }, this.#comparison.sizeBytes);
      }
      nameAt = names.indexOf(0, nameAt) + 1;
    }
  }

  #addChanged(frame: Frame, entry: ChangedEntry, sizeBytes: number): void {
    frame.isSame = false;
    const entries = this.changed.get(frame.folder);
    this.changedCount++;
    this.changedBytes += sizeBytes;
    if (entries === undefined) this.changed.set(frame.folder, [entry]);
    else entries.push(entry);
  }

  #close(frame: Frame): void {
    this.#frames.pop();
    this.#comparison.leave();
    const { folder, isSame, isListed, own, below } = frame;
    this.results[folder] = isSame ? found.same : isListed ? found.listed : found.unlisted;
    if (isSame) add(own, below);
    else if (!isListed) this.unlistedCount++;
    this.#files[folder] = own.files;
    this.#bytes[folder] = own.bytes;
    this.#folders[folder] = own.folders;
    const above = this.#frames.at(-1);
    if (above === undefined) return;
    if (isSame) add(above.below, own);
    else above.isSame = false;
  }

  #addSame(frame: Frame, at: number, isChild: boolean, entry: ChangedEntry): void {
    const { stats } = this.folders;
    const mode = stats[at + modeWord] ?? leftOut;
    if (mode === leftOut || (mode & notTaken) !== 0) return;
    const type = mode & constants.S_IFMT;
    if (type === constants.S_IFREG) {
      frame.own.files++;
      frame.own.bytes += (stats[at + sizeWord] ?? 0) + (stats[at + sizeWord + 1] ?? 0) * 2 ** 32;
    } else if (type === constants.S_IFDIR) {
      if (isChild) frame.own.folders++;
      else {
        // It was not recorded.
        this.unlistedCount++;
        this.#addChanged(frame, entry, 0);
      }
    }
  }
}
