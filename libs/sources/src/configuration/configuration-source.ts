import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../allowed-roots.ts';
import { openFileSystemSource } from '../file-system-source.ts';
import { ownRowsPath } from '../source-options/configuration.ts';
import type { OpenFileOptions, ReadDirectoryOptions, Source, SourceEntry, SourceFile } from '../source.ts';
import { pathToBytes } from '../system-path.ts';
import { findGlobMatches, type GlobLimits, type GlobMatches } from './find-glob-matches.ts';
import { LeadingFolders } from './leading-folders.ts';
import { RowFiles, type RowFile } from './row-files.ts';

export interface ConfigurationSourceOptions {
  readonly paths?: readonly string[] | undefined;
  readonly globs?: readonly string[] | undefined;
  readonly excludes?: readonly string[] | undefined;
  /** All below ownRowsPath; none where own rows are not asked for. */
  readonly rows: readonly RowFile[];
  /** The allowed source roots. */
  readonly roots: readonly string[];
  readonly signal: AbortSignal;
  readonly limits?: GlobLimits;
}

export interface ConfigurationSource extends Source {
  /** What the globs matched when the source was opened. */
  readonly matches: Pick<GlobMatches, 'counts' | 'unreadable'>;
}

/**
 * Files by path and by glob at their own places, and rows below ownRowsPath. `paths` of the source are the paths, the folders of the globs and
 * ownRowsPath: the same from run to run while the config is.
 * Errors: those of findGlobMatches and openFileSystemSource; path_not_found, when nothing that the config names is there.
 */
export async function openConfigurationSource(options: ConfigurationSourceOptions): Promise<ConfigurationSource> {
  const { paths = [], globs = [], excludes, rows, roots, signal, limits } = options;
  const matches = await findGlobMatches(globs, { roots, signal, ...(limits === undefined ? {} : { limits }) });
  const whole = await Promise.all(paths.map((path) => resolveInsideRoots(path, roots)));
  if (rows.length > 0 && [...whole, ...matches.folders].some((path) => path === '/' || isAtOrBelow(path, ownRowsPath))) {
    throw new HoldfastError('request_invalid', `a path or glob leads to ${ownRowsPath}, where own rows are stored`, {
      hint: 'choose other folders, or leave ownRows out',
    });
  }
  const tops = [...whole, ...matches.folders];
  if (tops.length === 0 && rows.length === 0) {
    throw new HoldfastError('path_not_found', 'no folder is there in which a glob of the config could match');
  }
  const files = tops.length === 0 ? null : await openFileSystemSource({ paths: tops, roots, excludes });
  const leading = await LeadingFolders.to([...whole, ...matches.paths], signal);
  return new ComposedSource({ files, rows: new RowFiles(rows), matches, whole, leading });
}

interface Composition {
  readonly files: Source | null;
  readonly rows: RowFiles;
  readonly matches: GlobMatches;
  /** Real paths that are taken with all below them. */
  readonly whole: readonly string[];
  readonly leading: LeadingFolders;
}

class ComposedSource implements ConfigurationSource {
  readonly paths: readonly string[];
  readonly matches: GlobMatches;
  readonly #files: Source | null;
  readonly #rows: RowFiles;
  readonly #whole: readonly string[];
  /** Matches, and the folders that lead to them. */
  readonly #shown: ReadonlySet<string>;
  readonly #leading: LeadingFolders;

  constructor({ files, rows, matches, whole, leading }: Composition) {
    this.#files = files;
    this.#rows = rows;
    this.#whole = whole;
    this.#leading = leading;
    this.matches = matches;
    this.#shown = withFoldersAbove(matches.paths);
    const own = rows.totals.files > 0 ? [ownRowsPath] : [];
    this.paths = [...new Set([...whole, ...matches.folders, ...own])].toSorted(compareBytes);
  }

  async readDirectory(path: string, options: ReadDirectoryOptions = {}): Promise<SourceEntry[]> {
    const isRows = isAtOrBelow(path, ownRowsPath) && this.#rows.holds(path);
    // Nothing is recorded of a folder of which only a part is shown.
    const { record: _record, ...others } = options;
    const files = isRows || this.#files === null ? [] : await this.#files.readDirectory(path, others);
    const shown = files.filter((entry) => this.#shows(entry.kind === 'node' ? joined(path, entry.node.name) : entry.skipped.path));
    const stable = shown.map((entry) => this.#stable(path, entry));
    const rows = isRows || path === '/' ? this.#rows.list(path) : [];
    if (rows.length === 0) return stable;
    return [...stable, ...rows].toSorted((a, b) => compareBytes(nameOf(a), nameOf(b)));
  }

  async openFile(path: string, options?: OpenFileOptions): Promise<SourceFile> {
    if (isAtOrBelow(path, ownRowsPath) && this.#rows.holds(path)) return this.#rows.open(path);
    if (this.#files === null) throw new HoldfastError('path_not_found', `${JSON.stringify(path)} is not part of this backup`);
    return await this.#files.openFile(path, options);
  }

  async close(): Promise<void> {
    await this.#files?.close();
  }

  #stable(folder: string, entry: SourceEntry): SourceEntry {
    if (entry.kind === 'skipped') return entry;
    const path = joined(folder, entry.node.name);
    if (this.#whole.some((one) => isAtOrBelow(path, one))) return entry;
    return { kind: 'node', node: this.#leading.show(path, entry.node) };
  }

  #shows(path: string): boolean {
    return this.#shown.has(path) || this.#whole.some((one) => isAtOrBelow(path, one) || isAtOrBelow(one, path));
  }
}

function withFoldersAbove(paths: ReadonlySet<string>): ReadonlySet<string> {
  const all = new Set<string>();
  for (const path of paths) {
    for (let at = path; at !== '' && !all.has(at); at = at.slice(0, at.lastIndexOf('/'))) all.add(at);
  }
  return all;
}

function nameOf(entry: SourceEntry): string {
  return entry.kind === 'node' ? entry.node.name : entry.skipped.path.slice(entry.skipped.path.lastIndexOf('/') + 1);
}

function joined(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}

function isAtOrBelow(path: string, top: string): boolean {
  return top === '/' || path === top || path.startsWith(`${top}/`);
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}
