import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../allowed-roots.ts';
import { parseConfigurationGlob } from '../source-options/configuration.ts';
import { printablePath, toSystemPath } from '../system-path.ts';
import { walkGlob } from '../walk-glob.ts';

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
    const parsed = parseConfigurationGlob(glob);
    const base = await resolveInsideRoots(parsed.base, roots);
    let matchCount = 0;
    if (await isFolder(base)) {
      folders.add(base);
      const onUnlistable = (path: string, code: string) => unreadable.set(path, code);
      for await (const batch of walkGlob(parsed, { base, signal, onUnlistable })) {
        visitedCount += batch.visitedCount;
        if (visitedCount > limits.maxVisitedCount) throw tooMany(glob, `has more than ${limits.maxVisitedCount} entries to be looked at`);
        matchCount += batch.matches.length;
        for (const { name } of batch.matches) paths.add(posix.join(batch.folder.path, name));
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
