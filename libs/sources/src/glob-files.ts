import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from './allowed-roots.ts';
import { isVanished } from './file-system-error.ts';
import { parseGlob, type Glob } from './glob-pattern.ts';
import type { SkippedEntry } from './source.ts';
import { pathToBytes, printablePath } from './system-path.ts';
import type { VerifiedFolder } from './verified-folder.ts';
import { walkGlob } from './walk-glob.ts';

/** Regular files by globs. The names before a glob's first pattern are followed through symlinks, inside the roots; below them no symlink is. */
export interface FoundFiles {
  /** Each once, sorted by the bytes of their paths, which are real ones. */
  readonly files: readonly FoundFile[];
  /** The real folders at which the globs begin: each once, sorted, those inside another one left out. */
  readonly bases: readonly string[];
  /** Folders that could not be listed, and files that could not be looked at. */
  readonly skipped: readonly SkippedEntry[];
  /** The globs that no file matched. */
  readonly unmatched: readonly string[];
}

export interface FoundFile {
  readonly path: string;
  readonly device: bigint;
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
}

export interface FindFilesOptions {
  /** The allowed source roots. */
  readonly roots: readonly string[];
  /** One more is an error. */
  readonly maxCount: number;
  readonly signal: AbortSignal;
}

/** Finds them. Errors: request_invalid (a glob, or too many files), path_outside_roots, path_not_readable for a base. */
export async function findFiles(globs: readonly string[], options: FindFilesOptions): Promise<FoundFiles> {
  const search = new FileSearch(options);
  const bases: string[] = [];
  const unmatched: string[] = [];
  for (const text of globs) {
    const glob = parseGlob(text);
    const base = await resolveInsideRoots(glob.base, options.roots);
    bases.push(base);
    if ((await search.find(text, glob, base)) === 0) unmatched.push(text);
  }
  const files = [...search.files.values()].toSorted((a, b) => compareBytes(a.path, b.path));
  return { files, bases: outermost(bases), skipped: search.skipped, unmatched };
}

class FileSearch {
  readonly files = new Map<string, FoundFile>();
  readonly skipped: SkippedEntry[] = [];
  readonly #options: FindFilesOptions;

  constructor(options: FindFilesOptions) {
    this.#options = options;
  }

  /** How many files match, also those that an earlier glob has found. A base may be missing: it then has none. */
  async find(text: string, glob: Glob, base: string): Promise<number> {
    const { maxCount, signal } = this.#options;
    let matchedCount = 0;
    const onUnlistable = (path: string, code: string, cause: unknown): void => {
      if (path === base && code !== 'EACCES') throw unlistable(path, code, cause);
      this.skipped.push({ path: printablePath(path), reason: `cannot be listed (${code})` });
    };
    for await (const { folder, matches } of walkGlob(glob, { base, signal, onUnlistable })) {
      const looks = matches.filter(({ isFile }) => isFile).map(({ name }) => this.#lookAt(folder, name));
      for (const file of await Promise.all(looks)) {
        if (file === null) continue;
        matchedCount++;
        this.files.set(file.path, file);
      }
      if (this.files.size > maxCount) throw tooMany(text, maxCount);
    }
    return matchedCount;
  }

  async #lookAt(folder: VerifiedFolder, name: string): Promise<FoundFile | null> {
    try {
      return await lookAt(folder, name);
    } catch (error) {
      const code = errnoCode(error);
      if (code === undefined) throw error;
      this.skipped.push({ path: printablePath(posix.join(folder.path, name)), reason: `cannot be looked at (${code})` });
      return null;
    }
  }
}

/** Null for what has gone, or is no regular file any more. */
async function lookAt(folder: VerifiedFolder, name: string): Promise<FoundFile | null> {
  try {
    const found = await lstat(folder.at(name), { bigint: true });
    if (!found.isFile()) return null;
    const path = posix.join(folder.path, name);
    const { dev, ino, size, mtimeNs, ctimeNs } = found;
    return { path, device: dev, inode: ino, sizeBytes: Number(size), modifiedNs: mtimeNs, changedNs: ctimeNs };
  } catch (error) {
    if (isVanished(error)) return null;
    throw error;
  }
}

function tooMany(glob: string, maxCount: number): HoldfastError {
  return new HoldfastError('request_invalid', `${JSON.stringify(glob)} brings the files of the config to more than ${maxCount}`, {
    hint: 'narrow the globs, or make several configs of them',
  });
}

function unlistable(path: string, code: string, cause: unknown): HoldfastError {
  return new HoldfastError('path_not_readable', `${JSON.stringify(path)} cannot be listed (${code})`, {
    context: { path },
    cause,
  });
}

function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => isInside(path, other))).toSorted(compareBytes);
}

function isInside(path: string, other: string): boolean {
  return other !== path && (other === '/' || path.startsWith(`${other}/`));
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}
