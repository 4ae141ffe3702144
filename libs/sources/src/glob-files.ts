import { lstat, opendir } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from './allowed-roots.ts';
import { isVanished } from './file-system-error.ts';
import { parseGlob, reach, stepOver, type GlobStep } from './glob-pattern.ts';
import type { SkippedEntry } from './source.ts';
import { pathFromBytes, pathToBytes, printablePath } from './system-path.ts';
import { openVerifiedFolder, type VerifiedFolder } from './verified-folder.ts';

/** Regular files by globs. The names before a glob's first pattern are followed through symlinks, inside the roots; below them no symlink is. */
export interface FoundFiles {
  /** Each once, sorted by the bytes of their paths, which are real ones. */
  readonly files: readonly FoundFile[];
  /** The real folders at which the globs begin: each once, sorted, those inside another one left out. */
  readonly bases: readonly string[];
  /** Folders that could not be listed. */
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

/** Names that are looked at together: enough to keep the thread pool busy. */
const batchSize = 32;

/** Finds them. Errors: request_invalid (a glob, or too many files), path_outside_roots, path_not_readable for a base. */
export async function findFiles(globs: readonly string[], options: FindFilesOptions): Promise<FoundFiles> {
  const search = new GlobSearch(options);
  const bases: string[] = [];
  const unmatched: string[] = [];
  for (const text of globs) {
    const { base, steps } = parseGlob(text);
    const real = await resolveInsideRoots(base, options.roots);
    bases.push(real);
    search.begin(text);
    await search.walk(real, steps, new Set([0]), true);
    if (search.matchedCount === 0) unmatched.push(text);
  }
  const files = [...search.files.values()].toSorted((a, b) => compareBytes(a.path, b.path));
  return { files, bases: outermost(bases), skipped: search.skipped, unmatched };
}

class GlobSearch {
  readonly files = new Map<string, FoundFile>();
  readonly skipped: SkippedEntry[] = [];
  matchedCount = 0;
  #glob = '';
  readonly #options: FindFilesOptions;

  constructor(options: FindFilesOptions) {
    this.#options = options;
  }

  begin(glob: string): void {
    this.#glob = glob;
    this.matchedCount = 0;
  }

  /** `places` are those in the steps that the folder's names have led to. A base may be missing: it then has no files. */
  async walk(path: string, steps: readonly GlobStep[], places: ReadonlySet<number>, isBase: boolean): Promise<void> {
    try {
      await using folder = await openVerifiedFolder(path);
      await this.#walkOpen(folder, steps, reach(steps, places));
    } catch (error) {
      // What has gone since its name was read, or is a symlink now, holds nothing.
      if (isHoldfastError(error, 'path_outside_roots') || isVanished(error)) return;
      const code = errnoCode(error);
      if (code === undefined || error instanceof HoldfastError) throw error;
      if (isBase && code !== 'EACCES') throw unlistable(path, code, error);
      this.skipped.push({ path: printablePath(path), reason: `cannot be listed (${code})` });
    }
  }

  async #walkOpen(folder: VerifiedFolder, steps: readonly GlobStep[], places: ReadonlySet<number>): Promise<void> {
    const { signal } = this.#options;
    const matched: string[] = [];
    // One character a byte: a folder may have more names than there is memory for, and any bytes in them.
    for await (const entry of await opendir(folder.itself, { encoding: 'latin1', bufferSize: 256 })) {
      signal.throwIfAborted();
      const name = pathFromBytes(Buffer.from(entry.name, 'latin1'));
      const next = reach(steps, stepOver(steps, places, name));
      if (entry.isDirectory() && [...next].some((place) => place < steps.length)) {
        await this.walk(posix.join(folder.path, name), steps, next, false);
      }
      if (!entry.isFile() || !next.has(steps.length)) continue;
      matched.push(name);
      if (matched.length === batchSize) await this.#look(folder, matched.splice(0));
    }
    await this.#look(folder, matched);
  }

  async #look(folder: VerifiedFolder, names: readonly string[]): Promise<void> {
    const { maxCount } = this.#options;
    const found = await Promise.all(names.map((name) => lookAt(folder, name)));
    for (const file of found) {
      if (file === null) continue;
      this.matchedCount++;
      this.files.set(file.path, file);
    }
    if (this.files.size <= maxCount) return;
    throw new HoldfastError('request_invalid', `${JSON.stringify(this.#glob)} brings the files of the config to more than ${maxCount}`, {
      hint: 'narrow the globs, or make several configs of them',
    });
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

function unlistable(path: string, code: string, cause: unknown): HoldfastError {
  return new HoldfastError('path_not_readable', `${JSON.stringify(path)} cannot be listed (${code ?? 'unknown'})`, {
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
