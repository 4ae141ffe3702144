import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoCode } from '@holdfast/errors/errno-code';

/** What an entry of a folder is, as far as a recovery can bring it back, and `changedNs`, which betrays every change of it. */
export interface ListedEntry {
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly sizeBytes: bigint;
  readonly mode: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
  readonly linkTarget?: string;
  /** Of a file, when hashing was asked for. */
  readonly sha256?: string;
}

/** Path below the listed folder, without a leading slash, to what is there; the folder itself is under the empty path. */
export type TreeListing = ReadonlyMap<string, ListedEntry>;

export interface ListTreeOptions {
  readonly hash: boolean;
  /** True for a path (below the folder) that is left out, with everything in it. */
  readonly isExcluded?: (path: string) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Lists a folder and all below it, with eyes of its own: nothing here is the code that made the backup. What vanishes meanwhile is left out. */
export async function listTree(folder: string, options: ListTreeOptions): Promise<TreeListing> {
  const listing = new Map<string, ListedEntry>();
  const top = await unlessGone(describe(folder, options));
  if (top === undefined) return listing;
  listing.set('', top);
  const visit = async (path: string): Promise<void> => {
    options.signal?.throwIfAborted();
    for (const name of (await unlessGone(readdir(join(folder, path)))) ?? []) {
      const childPath = path === '' ? name : `${path}/${name}`;
      if (options.isExcluded?.(childPath) === true) continue;
      const entry = await unlessGone(describe(join(folder, childPath), options));
      if (entry === undefined) continue;
      listing.set(childPath, entry);
      if (entry.type === 'directory') await visit(childPath);
    }
  };
  await visit('');
  return listing;
}

async function describe(path: string, options: ListTreeOptions): Promise<ListedEntry> {
  const stat = await lstat(path, { bigint: true });
  const common = { sizeBytes: stat.size, mode: stat.mode & 0o7777n, modifiedNs: stat.mtimeNs, changedNs: stat.ctimeNs };
  if (stat.isSymbolicLink()) return { ...common, type: 'symlink', linkTarget: await readlink(path) };
  if (stat.isDirectory()) return { ...common, type: 'directory' };
  if (!stat.isFile()) return { ...common, type: 'other' };
  return { ...common, type: 'file', ...(options.hash ? { sha256: await hashFile(path, options.signal) } : {}) };
}

async function hashFile(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash, signal === undefined ? {} : { signal });
  return hash.digest('hex');
}

async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
