import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { isPlainName } from '@holdfast/sources/snapshot-path';

/** Where in a target what comes out of a snapshot is put. */
export interface LayoutOptions {
  /** A folder of the snapshot, such as `/srv/www`: only what is in it is restored, and comes to the top. */
  readonly stripPrefix?: string | undefined;
  /** How many names are taken off the front of each path; what has no more than these is left out. Default 0. */
  readonly stripComponents?: number | undefined;
  /** A folder in the target, such as `old/www`, that everything is put into, after stripping. */
  readonly prefix?: string | undefined;
}

export interface TargetLayout {
  /** The folder of the snapshot that the walk begins in; `/` for its top. */
  readonly from: string;
  readonly stripComponents: number;
  /** Where the first names that are left are put: `/`, or the last of `prefixFolders`. */
  readonly top: string;
  /** Folders of the prefix, the outermost first. */
  readonly prefixFolders: readonly string[];
}

/** Errors: request_invalid for names that no folder can have, and for both ways of stripping at once. */
export function layoutOf({ stripPrefix, stripComponents = 0, prefix = '' }: LayoutOptions): TargetLayout {
  const from = `/${namesOf(stripPrefix ?? '', 'stripPrefix').join('/')}`;
  if (from !== '/' && stripComponents > 0) {
    throw new HoldfastError('request_invalid', 'stripPrefix and stripComponents are given both; leave one of them out');
  }
  const names = namesOf(prefix, 'prefix');
  const prefixFolders = names.map((_, nth) => `/${names.slice(0, nth + 1).join('/')}`);
  return { from, stripComponents, top: prefixFolders.at(-1) ?? '/', prefixFolders };
}

function namesOf(path: string, field: string): string[] {
  const names = path.split('/').filter((name) => name !== '');
  if (names.every(isPlainName)) return names;
  throw new HoldfastError('request_invalid', `${field} must be made of plain names, without "." and "..": ${JSON.stringify(path)}`);
}
