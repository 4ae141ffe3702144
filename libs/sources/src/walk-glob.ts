import { opendir } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { isVanished } from './file-system-error.ts';
import type { Glob } from './glob-pattern.ts';
import { firstPlaces, nextPlaces } from './path-pattern.ts';
import { pathFromBytes } from './system-path.ts';
import { openVerifiedFolder, type VerifiedFolder } from './verified-folder.ts';

/** A part of what a folder holds. */
export interface GlobBatch {
  /** Open until the next batch is asked for. */
  readonly folder: VerifiedFolder;
  /** Entries that were looked at since the batch before, whether they match or not. */
  readonly visitedCount: number;
  /** What matches and is no folder, symlinks as such; at most maxBatchMatches. */
  readonly matches: readonly { readonly name: string; readonly isFile: boolean }[];
}

export interface WalkGlobOptions {
  /** The glob's base without symlinks: nothing is followed from there on. */
  readonly base: string;
  readonly signal: AbortSignal;
  /** Told of a folder that cannot be listed and is passed over, with the errno; what is thrown here ends the walk. */
  readonly onUnlistable: (path: string, code: string, cause: unknown) => void;
}

/** Enough to keep the thread pool busy with a look at each. */
const maxBatchMatches = 32;
/** A caller who counts what was looked at learns of it soon enough, and not by every name. */
const maxBatchVisits = 256;

interface Step {
  readonly path: string;
  readonly places: ReadonlySet<number>;
}

/**
 * Walks the folders in which a glob can match, one at a time and in no order. A folder that is not there, has gone since its name was read or is a
 * symlink by now holds nothing. Names are read piece by piece: a folder may hold more than there is memory for.
 */
export async function* walkGlob(glob: Glob, options: WalkGlobOptions): AsyncGenerator<GlobBatch, void, undefined> {
  const pending: Step[] = [{ path: options.base, places: firstPlaces(glob) }];
  for (let step = pending.pop(); step !== undefined; step = pending.pop()) {
    options.signal.throwIfAborted();
    await using folder = await orPassedOver(step.path, options, () => openVerifiedFolder(step.path));
    if (folder !== null) yield* readFolder(folder, glob, step.places, { ...options, pending });
  }
}

async function* readFolder(
  folder: VerifiedFolder,
  glob: Glob,
  places: ReadonlySet<number>,
  options: WalkGlobOptions & { readonly pending: Step[] },
): AsyncGenerator<GlobBatch, void, undefined> {
  const end = glob.steps.length;
  let matches: { name: string; isFile: boolean }[] = [];
  let visitedCount = 0;
  // One character a byte: names may hold any bytes.
  const list = () => opendir(folder.itself, { encoding: 'latin1', bufferSize: 256 });
  const listing = await orPassedOver(folder.path, options, list);
  if (listing === null) return;
  try {
    for (;;) {
      const entry = await orPassedOver(folder.path, options, () => listing.read());
      if (entry === null) break;
      options.signal.throwIfAborted();
      visitedCount++;
      const name = pathFromBytes(Buffer.from(entry.name, 'latin1'));
      const next = nextPlaces(glob, places, name);
      if (entry.isDirectory()) {
        if ([...next].some((place) => place < end)) options.pending.push({ path: posix.join(folder.path, name), places: next });
      } else if (next.has(end)) matches.push({ name, isFile: entry.isFile() });
      if (matches.length < maxBatchMatches && visitedCount < maxBatchVisits) continue;
      yield { folder, visitedCount, matches };
      matches = [];
      visitedCount = 0;
    }
  } finally {
    await listing.close();
  }
  if (visitedCount > 0) yield { folder, visitedCount, matches };
}

/** Null for a folder that is not there, or is told of. Errors that are no errno go through. */
async function orPassedOver<T>(path: string, { onUnlistable }: WalkGlobOptions, look: () => Promise<T>): Promise<T | null> {
  try {
    return await look();
  } catch (error) {
    if (isHoldfastError(error, 'path_outside_roots') || isVanished(error)) return null;
    const code = errnoCode(error);
    if (code === undefined || error instanceof HoldfastError) throw error;
    onUnlistable(path, code, error);
    return null;
  }
}
