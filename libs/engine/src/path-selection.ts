import { compileExcludes, compileIncludes } from '@holdfast/sources/exclude-patterns';

/** Which part of a snapshot is wanted: the entry itself and `all` below it but for what is excluded, only the way `through` it, or nothing of it. */
export type SelectedPart = 'all' | 'through' | 'none';

/** What is asked for; nothing at all is everything. */
export interface SelectOptions {
  /** Absolute paths in the snapshot: each with all that is below it, and the folders above. */
  readonly paths?: readonly string[] | undefined;
  /** Patterns, as of includes of a backup (see sources/exclude-patterns.ts): what matches, with all that is below it. Beside the paths. */
  readonly globs?: readonly string[] | undefined;
  /** Patterns of what is left out, of what was selected too. */
  readonly excludes?: readonly string[] | undefined;
  /** Absolute paths: nothing that is not one of them, or below one, is selected, whatever else says so. */
  readonly within?: readonly string[] | undefined;
}

export interface PathSelection {
  /** The selected paths, made regular; null when none are given. */
  readonly paths: readonly string[] | null;
  readonly hasGlobs: boolean;
  readonly isEverything: boolean;
  partOf(path: string): SelectedPart;
}

export const everything: PathSelection = { paths: null, hasGlobs: false, isEverything: true, partOf: () => 'all' };

/**
 * A trailing slash in `paths` and doubled ones do not matter; one with `.` or `..` in it matches nothing: names in a snapshot are never
 * those, and where such a path would lead is not for us to guess. Errors: request_invalid for a pattern that cannot be read.
 */
export function selectPaths(select: SelectOptions | undefined): PathSelection {
  const { paths: given, globs = [], excludes = [], within } = select ?? {};
  const paths = given?.map(regular) ?? null;
  const takesTop = (paths === null && globs.length === 0) || paths?.includes('/') === true;
  const bounds = within?.map(regular);
  const isBound = bounds !== undefined && !bounds.includes('/');
  if (takesTop && excludes.length === 0 && !isBound) return everything;

  const wanted = new Set(paths);
  const ways = new Set(paths?.flatMap(foldersAbove));
  const included = globs.length === 0 ? undefined : compileIncludes(globs);
  const excluded = compileExcludes(excludes);
  const partOf = (path: string): SelectedPart => {
    if (path === '/') return takesTop ? 'all' : 'through';
    if (excluded.excludes(path)) return 'none';
    if (takesTop || isAtOrBelow(path, wanted) || included?.includes(path) === true) return 'all';
    return ways.has(path) || included?.mayIncludeBelow(path) === true ? 'through' : 'none';
  };
  return {
    paths: takesTop ? null : paths,
    hasGlobs: included !== undefined && !takesTop,
    isEverything: false,
    partOf: isBound ? boundTo(bounds, partOf) : partOf,
  };
}

function boundTo(bounds: readonly string[], partOf: PathSelection['partOf']): PathSelection['partOf'] {
  const inside = new Set(bounds);
  const ways = new Set(['/', ...bounds.flatMap(foldersAbove)]);
  return (path) => {
    if (isAtOrBelow(path, inside)) return partOf(path);
    return ways.has(path) && partOf(path) !== 'none' ? 'through' : 'none';
  };
}

const regular = (path: string): string => `/${path.split('/').filter(Boolean).join('/')}`;

function isAtOrBelow(path: string, wanted: ReadonlySet<string>): boolean {
  if (wanted.size === 0) return false;
  for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) if (wanted.has(path.slice(0, end))) return true;
  return false;
}

function foldersAbove(path: string): string[] {
  const names = path.split('/').slice(1, -1);
  return names.map((_, nth) => `/${names.slice(0, nth + 1).join('/')}`);
}
