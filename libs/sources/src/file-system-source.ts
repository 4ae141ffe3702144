import { lstat, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from './allowed-roots.ts';
import { readExcludeFile } from './exclude-file.ts';
import { readOpenAttributes, type FoundAttributes } from './extended-attributes.ts';
import { readingError } from './file-system-error.ts';
import { listFolder, listScan, measureFolder, measureScan, readNode, type ListingOptions } from './folder-listing.ts';
import { openFolderComparison } from './folder-comparison.ts';
import { loadOwnerNames, type OwnerNames } from './owner-names.ts';
import { scanFolder } from './folder-scan.ts';
import { compileSelection, type SelectionOptions, type SourceSelection } from './source-selection.ts';
import type { ReadDirectoryOptions, Source, SourceEntry, SourceFile, SourceRecords } from './source.ts';
import { pathToBytes, printablePath, toSystemPath } from './system-path.ts';
import { openVerifiedFile } from './verified-file.ts';
import { openVerifiedFolder } from './verified-folder.ts';

export interface FileSystemSourceOptions extends SelectionOptions {
  /** Absolute; a path inside another one is dropped, a symlink among them stands for what it leads to. */
  readonly paths: readonly string[];
  /** Absolute paths of files with further exclude patterns, inside the roots as well. */
  readonly excludeFiles?: readonly string[] | undefined;
  /** The allowed source roots. */
  readonly roots: readonly string[];
}

/**
 * Opens folders and files of this machine as a source. `paths` of the source are the real ones, sorted by their bytes. Below
 * them no symlink is followed, and a folder that becomes one while it is read counts as gone.
 * Errors: path_outside_roots, path_not_found, path_not_readable, request_invalid (a pattern, an exclude file, or a pattern that leaves out a whole path).
 */
export async function openFileSystemSource(options: FileSystemSourceOptions): Promise<Source> {
  const excludes = [...(options.excludes ?? [])];
  for (const path of options.excludeFiles ?? []) excludes.push(...(await readExcludeFile(path, options.roots)));
  const selection = compileSelection({ ...options, excludes });
  const real: string[] = [];
  for (const path of options.paths) {
    const resolved = await resolveInsideRoots(path, options.roots);
    try {
      await lstat(toSystemPath(resolved));
    } catch (error) {
      throw readingError(error, path);
    }
    if (selection.excludes(resolved)) {
      throw new HoldfastError('request_invalid', `an exclude pattern leaves out the whole of ${JSON.stringify(path)}`, {
        context: { path },
      });
    }
    real.push(resolved);
  }
  const paths = outermost(real);
  const owners = await loadOwnerNames();
  return new FileSystemSource(paths, selection, owners, recordsOf(paths, { ...options, excludes }, owners));
}

function recordsOf(paths: readonly string[], options: SelectionOptions, owners: OwnerNames): SourceRecords {
  const { excludes, includes, excludeIfPresent, excludeCaches, oneFileSystem, excludeLargerThanBytes } = options;
  return {
    rules: JSON.stringify({ paths, excludes, includes, excludeIfPresent, excludeCaches, oneFileSystem, excludeLargerThanBytes }),
    hasTags: excludeCaches === true || (excludeIfPresent ?? []).length > 0,
    userName: (uid) => owners.users.get(uid),
    groupName: (gid) => owners.groups.get(gid),
    openComparison: openFolderComparison,
  };
}

class FileSystemSource implements Source {
  readonly threadOptions = { kind: 'file_system' } as const;
  readonly paths: readonly string[];
  readonly records: SourceRecords;
  readonly #selection: SourceSelection;
  /** By the paths of the source. */
  readonly #devices = new Map<string, bigint>();
  readonly #owners: OwnerNames;

  constructor(paths: readonly string[], selection: SourceSelection, owners: OwnerNames, records: SourceRecords) {
    this.paths = paths;
    this.records = records;
    this.#selection = selection;
    this.#owners = owners;
  }

  async readDirectory(path: string, options: ReadDirectoryOptions = {}): Promise<SourceEntry[]> {
    options.signal?.throwIfAborted();
    try {
      if (!this.#holds(path)) return await this.#readFolderAbove(path, options);
      const device = await this.#deviceAbove(path);
      const listing: ListingOptions = { selection: this.#selection, device, owners: this.#owners, ...options };
      // A tag that is not asked for counts too.
      using scan = scanFolder(path, this.records.hasTags ? undefined : options.names);
      if (scan !== undefined) return await listScan(path, scan, listing);
      await using folder = await openVerifiedFolder(path);
      return await listFolder(folder, listing);
    } catch (error) {
      throw withReplacedAsGone(readingError(error, path), path);
    }
  }

  async openFile(path: string): Promise<SourceFile> {
    if (!this.#holds(path)) throw outsideOfSource(path);
    try {
      const handle = await openVerifiedFile(path);
      try {
        if ((await handle.stat()).isFile()) return new FileSystemFile(handle, path);
        throw new HoldfastError('path_not_found', `${JSON.stringify(path)} is no longer a regular file`, { context: { path } });
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      throw withReplacedAsGone(readingError(error, path), path);
    }
  }

  async estimate(options: { signal?: AbortSignal } = {}): Promise<{ files: number; bytes: number }> {
    const sum = { files: 0, bytes: 0 };
    const add = (sizeBytes: number): void => {
      sum.files += 1;
      sum.bytes += sizeBytes;
    };
    const folders: string[] = [];
    for (const path of this.paths) {
      const found = await lstat(toSystemPath(path)).catch((error: unknown) => Promise.reject(readingError(error, path)));
      if (found.isFile()) add(found.size);
      if (found.isDirectory()) folders.push(path);
    }
    for (let path = folders.pop(); path !== undefined; path = folders.pop()) {
      // Before it goes on, whoever waits for this thread: a scan blocks it.
      await setImmediate();
      options.signal?.throwIfAborted();
      const measured = await this.#measure(path);
      measured.fileSizesBytes.forEach(add);
      folders.push(...measured.folders);
    }
    return sum;
  }

  async close(): Promise<void> {}

  /** A folder that cannot be read counts nothing: the backup itself says so, with the reason. */
  async #measure(path: string): ReturnType<typeof measureFolder> {
    try {
      const rules = { selection: this.#selection, device: await this.#deviceAbove(path) };
      using scan = scanFolder(path);
      if (scan !== undefined) return await measureScan(path, scan, rules);
      await using folder = await openVerifiedFolder(path);
      return await measureFolder(folder, rules);
    } catch (error) {
      const known = withReplacedAsGone(readingError(error, path), path);
      if (!isHoldfastError(known, 'path_not_found') && !isHoldfastError(known, 'path_not_readable')) throw known;
      return { fileSizesBytes: [], folders: [] };
    }
  }

  /** A folder above the paths, with only what leads to them. */
  async #readFolderAbove(path: string, { names: wanted, record }: ReadDirectoryOptions): Promise<SourceEntry[]> {
    const prefix = path === '/' ? '/' : `${path}/`;
    const names = new Set(this.paths.filter((one) => one.startsWith(prefix)).map((one) => one.slice(prefix.length).split('/')[0] ?? ''));
    if (names.size === 0) throw outsideOfSource(path);
    const entries: SourceEntry[] = [];
    const sorted = [...names].toSorted(compareBytes);
    if (wanted === undefined) record?.begin(sorted, true);
    for (const name of sorted) {
      if (wanted?.has(name) === false) continue;
      const { node, problem, words } = await readNode(toSystemPath(posix.join(path, name)), name, this.#owners);
      if (problem === undefined) record?.note(name, words, true);
      if (node !== undefined) entries.push({ kind: 'node', node });
      if (problem !== undefined)
        entries.push({ kind: 'skipped', skipped: { path: printablePath(posix.join(path, name)), reason: problem } });
    }
    return entries;
  }

  /** The device of the source's path that `path` is below: what `oneFileSystem` stays on. */
  async #deviceAbove(path: string): Promise<bigint> {
    if (!this.#selection.staysOnDevice) return 0n;
    const root = this.paths.find((one) => isAtOrBelow(path, one)) ?? path;
    const device = this.#devices.get(root) ?? (await lstat(toSystemPath(root), { bigint: true })).dev;
    this.#devices.set(root, device);
    return device;
  }

  #holds(path: string): boolean {
    return this.paths.some((one) => isAtOrBelow(path, one)) && !this.#selection.excludes(path);
  }
}

class FileSystemFile implements SourceFile {
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    try {
      let done = 0;
      while (done < into.byteLength) {
        const { bytesRead } = await this.#handle.read(into, done, into.byteLength - done, positionBytes + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    } catch (error) {
      throw readingError(error, this.#path);
    }
  }

  readAttributes(): FoundAttributes {
    return readOpenAttributes(this.#handle.fd);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** What was there as a folder a moment ago and leads elsewhere now has gone, as far as this source is concerned. */
function withReplacedAsGone(error: unknown, path: string): unknown {
  if (!isHoldfastError(error, 'path_outside_roots') || error.context['path'] !== path) return error;
  return new HoldfastError('path_not_found', error.message, { context: { path }, cause: error });
}

function outsideOfSource(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `${JSON.stringify(path)} is not part of this backup`, { context: { path } });
}

function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => other !== path && isAtOrBelow(path, other))).toSorted(compareBytes);
}

function isAtOrBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}
