import { freeSpaceAt, tryFolder, type TriedFolder } from '@holdfast/sources/tried-folder';
import { isEntryFailure, type FailedEntry } from './entry-failure.ts';
import { printablePath } from '@holdfast/sources/system-path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** What becomes of entries that are no folders, but for `deleted`, which takes folders too. */
export type PlannedChange = 'written' | 'replaced' | 'kept' | 'deleted';

export interface PlannedEntries {
  readonly count: number;
  /** Of files: as the snapshot has them for `written` and `replaced`, as they are there for `kept` and `deleted`. */
  readonly bytes: number;
  /** The first maxPlannedListed in the order of the walk. */
  readonly first: readonly { readonly path: string; readonly bytes: number }[];
}

/** What a recovery would do to a target. */
export interface DryRunPlan extends Readonly<Record<PlannedChange, PlannedEntries>> {
  /** Folders that are not there yet. */
  readonly foldersWritten: number;
  /** For each file system that would be written to, at most maxSpacesListed. */
  readonly spaces: readonly PlannedSpace[];
}

export interface PlannedSpace {
  /** A folder of the file system that is there already. */
  readonly path: string;
  /** Files in whole blocks, without what replaced ones give back, and with the largest of those, which lies there twice for a moment. */
  readonly neededBytes: number;
  readonly freeBytes: number;
}

/** Enough to see what a recovery is about; a row is read whole by every list. */
export const maxPlannedListed = 100;
/** Mounts below a target; more are counted as one with the last. */
const maxSpacesListed = 16;
/** Folders that are remembered: those of the walk's way down are among them. */
const maxTriedFolders = 10_000;

interface Space {
  readonly place: string;
  readonly blockBytes: number;
  neededBytes: number;
  newEntries: number;
  largestReplacedBytes: number;
}

/** Collects what would be done in the target at `root`, and looks at the folders that it would be done in. Nothing is changed. */
export class DryRun {
  readonly #root: string;
  readonly #changes = { written: noEntries(), replaced: noEntries(), kept: noEntries(), deleted: noEntries() };
  readonly #spaces = new Map<bigint, Space>();
  readonly #tried = new Map<string, TriedFolder | HoldfastError>();
  #foldersWritten = 0;

  constructor(root: string) {
    this.#root = root;
  }

  add(change: PlannedChange, path: string, bytes: number): void {
    const entries = this.#changes[change];
    entries.count++;
    entries.bytes += bytes;
    if (entries.first.length < maxPlannedListed) entries.first.push({ path: printablePath(path), bytes });
  }

  /** Errors: target_not_writable, path_outside_roots when nothing could be made in the folder. */
  addWritten(folder: string, path: string, bytes: number, replacedBytes: number | undefined): void {
    const space = this.#spaceOf(this.#try(folder));
    const [blocks, freed] = [inBlocks(bytes, space.blockBytes), inBlocks(replacedBytes ?? 0, space.blockBytes)];
    space.neededBytes += blocks - freed;
    if (replacedBytes === undefined) space.newEntries++;
    else space.largestReplacedBytes = Math.max(space.largestReplacedBytes, freed);
    this.add(replacedBytes === undefined ? 'written' : 'replaced', path, bytes);
  }

  /** Errors: as addWritten. */
  addFolder(parent: string): void {
    this.#spaceOf(this.#try(parent)).newEntries++;
    this.#foldersWritten++;
  }

  /** Errors: as addWritten. */
  tryFolder(path: string): void {
    this.#try(path);
  }

  toPlan(): { plan: DryRunPlan; noSpace: FailedEntry[] } {
    const noSpace: FailedEntry[] = [];
    const spaces = [...this.#spaces.values()].map(({ place, neededBytes, newEntries, largestReplacedBytes }) => {
      const { freeBytes, freeEntries } = freeSpaceAt(place);
      const needed = Math.max(0, neededBytes + largestReplacedBytes);
      const missing =
        needed > freeBytes ? `${needed} bytes, and has ${freeBytes}` : `${newEntries} files and folders, and has room for ${freeEntries}`;
      const isShort = needed > freeBytes || (freeEntries !== null && newEntries > freeEntries);
      if (isShort) noSpace.push({ path: printablePath(place), code: 'disk_full', reason: `the file system needs ${missing}` });
      return { path: printablePath(place), neededBytes: needed, freeBytes };
    });
    return { plan: { ...this.#changes, foldersWritten: this.#foldersWritten, spaces: spaces.slice(0, maxSpacesListed) }, noSpace };
  }

  #try(path: string): TriedFolder {
    let tried = this.#tried.get(path);
    if (tried === undefined) {
      if (this.#tried.size >= maxTriedFolders) this.#tried.clear();
      this.#tried.set(path, (tried = tryOrRefusal(this.#root, path)));
    }
    if (tried instanceof HoldfastError) throw tried;
    return tried;
  }

  #spaceOf({ deviceId, place }: TriedFolder): Space {
    let space = this.#spaces.get(deviceId);
    if (space === undefined) {
      const { blockBytes } = freeSpaceAt(place);
      this.#spaces.set(deviceId, (space = { place, blockBytes, neededBytes: 0, newEntries: 0, largestReplacedBytes: 0 }));
    }
    return space;
  }
}

function tryOrRefusal(root: string, path: string): TriedFolder | HoldfastError {
  try {
    return tryFolder(root, path);
  } catch (error) {
    if (isEntryFailure(error)) return error;
    throw error;
  }
}

function inBlocks(bytes: number, blockBytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

function noEntries(): { count: number; bytes: number; first: { path: string; bytes: number }[] } {
  return { count: 0, bytes: 0, first: [] };
}
