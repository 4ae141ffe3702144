/** Which part of a snapshot is wanted: `all` of what is below a path, only the way `through` it, or nothing of it. */
export type SelectedPart = 'all' | 'through' | 'none';

export interface PathSelection {
  /** The selected paths, made regular; null for everything. */
  readonly paths: readonly string[] | null;
  partOf(path: string): SelectedPart;
}

export const everything: PathSelection = { paths: null, partOf: () => 'all' };

/** `select` are absolute paths; a trailing slash and doubled ones do not matter, `.` and `..` match nothing. */
export function selectPaths(select: { readonly paths: readonly string[] } | undefined): PathSelection {
  if (select === undefined) return everything;
  const paths = select.paths.map((path) => `/${path.split('/').filter(Boolean).join('/')}`);
  if (paths.includes('/')) return everything;
  return {
    paths,
    partOf: (path) => {
      if (path === '/') return 'through';
      if (paths.some((wanted) => path === wanted || path.startsWith(`${wanted}/`))) return 'all';
      return paths.some((wanted) => wanted.startsWith(`${path}/`)) ? 'through' : 'none';
    },
  };
}
