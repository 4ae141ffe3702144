import { readdir, lstat } from 'node:fs/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../allowed-roots.ts';
import { firstPlaces, nextPlaces, parsePathPattern, type PathPattern } from '../path-pattern.ts';
import { globTop } from '../source-options/configuration.ts';
import { pathFromBytes, printablePath, toSystemPath } from '../system-path.ts';

export interface GlobMatches {
  /** Real paths of the folders above all that the globs can match, of those that are there. */
  readonly folders: readonly string[];
  /** Real paths of files and links that match. */
  readonly paths: ReadonlySet<string>;
  /** For each glob in its order. */
  readonly counts: readonly { readonly glob: string; readonly matchCount: number }[];
  /** Folders on the way that could not be listed, with the reason. */
  readonly unreadable: readonly { readonly path: string; readonly reason: string }[];
}

export interface GlobLimits {
  /** Files of all globs together. */
  readonly maxMatchCount: number;
  /** Entries that are looked at. */
  readonly maxVisitedCount: number;
}

/**
 * What is set up by more files than this is data: file_system reads a folder of any size without having all names in memory. A walk over two
 * million entries takes a minute.
 */
export const defaultGlobLimits: GlobLimits = { maxMatchCount: 50_000, maxVisitedCount: 2_000_000 };

/**
 * Walks the folders in which the globs can match. No symlink is followed below them. A glob whose folder is not there matches nothing.
 * Errors: path_outside_roots, path_not_readable, request_invalid (more matches or entries than the limits allow; the message names the glob).
 */
export async function findGlobMatches(
  globs: readonly string[],
  {
    roots,
    signal,
    limits = defaultGlobLimits,
  }: { readonly roots: readonly string[]; readonly signal: AbortSignal; readonly limits?: GlobLimits },
): Promise<GlobMatches> {
  const paths = new Set<string>();
  const folders = new Set<string>();
  const unreadable = new Map<string, string>();
  const counts: { glob: string; matchCount: number }[] = [];
  let visitedCount = 0;
  for (const glob of globs) {
    const { folder, names } = globTop(glob);
    const top = await resolveInsideRoots(folder, roots);
    let matchCount = 0;
    if (await isFolder(top)) {
      folders.add(top);
      const pattern = parsePathPattern(`/${names.join('/')}`);
      const walk = walkMatches(pattern, top, signal, (path, reason) => unreadable.set(path, reason));
      for await (const { path, isMatch } of walk) {
        if (++visitedCount > limits.maxVisitedCount) throw tooMany(glob, `has more than ${limits.maxVisitedCount} entries to be looked at`);
        if (!isMatch) continue;
        matchCount++;
        paths.add(path);
        if (paths.size > limits.maxMatchCount) throw tooMany(glob, `and those before it match more than ${limits.maxMatchCount} files`);
      }
    }
    counts.push({ glob, matchCount });
  }
  return {
    folders: [...folders],
    paths,
    counts,
    unreadable: [...unreadable].map(([path, reason]) => ({ path: printablePath(path), reason })),
  };
}

interface Step {
  readonly folder: string;
  readonly places: ReadonlySet<number>;
}

async function* walkMatches(
  pattern: PathPattern,
  top: string,
  signal: AbortSignal,
  onUnreadable: (path: string, reason: string) => void,
): AsyncGenerator<{ readonly path: string; readonly isMatch: boolean }, void, undefined> {
  const end = pattern.steps.length;
  const steps: Step[] = [{ folder: top, places: firstPlaces(pattern) }];
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    signal.throwIfAborted();
    const { folder } = step;
    const entries = await readdir(toSystemPath(folder), { withFileTypes: true, encoding: 'buffer' }).catch((error: unknown) => {
      const code = errnoCode(error);
      if (code === undefined) throw error;
      // Gone, or no folder any more, since it was listed.
      if (code !== 'ENOENT' && code !== 'ENOTDIR') onUnreadable(folder, code);
      return [];
    });
    for (const entry of entries) {
      const name = pathFromBytes(entry.name);
      const path = folder === '/' ? `/${name}` : `${folder}/${name}`;
      const places = nextPlaces(pattern, step.places, name);
      if (entry.isDirectory()) {
        if ([...places].some((place) => place < end)) steps.push({ folder: path, places });
        yield { path, isMatch: false };
      } else yield { path, isMatch: places.has(end) };
    }
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await lstat(toSystemPath(path))).isDirectory();
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false;
    throw new HoldfastError('path_not_readable', `${printablePath(path)} cannot be looked at (${errnoCode(error) ?? 'unknown'})`, {
      cause: error,
    });
  }
}

function tooMany(glob: string, what: string): HoldfastError {
  return new HoldfastError('request_invalid', `the glob ${glob} ${what}`, {
    hint: 'name narrower globs, or back up the folder with a config of type file_system',
    context: { glob },
  });
}
