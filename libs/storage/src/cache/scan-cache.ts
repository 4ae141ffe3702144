import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { isKeptPath, keptFolders } from './kept-file.ts';

/** A file that takes room in the folder of a cache. */
export interface CacheFile {
  readonly path: string;
  readonly diskBytes: number;
  /** When it was last read, or written. */
  readonly usedAtMs: number;
  readonly isTemporary: boolean;
}

/** Where files are written before they get their names. */
export const temporaryFolder = 'tmp';
const placePattern = /^[0-9a-f]{32}$/u;
const temporaryPattern = /^[0-9a-f-]{36}$/u;
/** What files are rounded up to on most disks; small ones would count for next to nothing otherwise. */
const blockBytes = 4096;

export function diskBytesOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / blockBytes) * blockBytes;
}

/** Every file of a cache. Others' files and links are not looked at; what goes meanwhile is left out. */
export async function scanCache(folder: string): Promise<CacheFile[]> {
  const files: CacheFile[] = [];
  for (const name of await filesIn(join(folder, temporaryFolder), temporaryPattern)) {
    await note(files, join(folder, temporaryFolder, name), true);
  }
  for (const place of await foldersIn(folder, placePattern)) {
    for (const kept of keptFolders) {
      const inner = join(folder, place, kept);
      const packs = kept === 'data' ? await foldersIn(inner, /./u) : [];
      for (const name of await filesIn(inner, /./u)) if (isKeptPath(`${kept}/${name}`)) await note(files, join(inner, name), false);
      for (const pack of packs) {
        for (const name of await filesIn(join(inner, pack), /./u)) {
          if (isKeptPath(`${kept}/${pack}/${name}`)) await note(files, join(inner, pack, name), false);
        }
      }
    }
  }
  return files;
}

/** Names in a folder; none when it is not there. */
export async function entriesOf(folder: string): Promise<string[]> {
  return (await entriesIn(folder)).map((entry) => entry.name);
}

async function note(files: CacheFile[], path: string, isTemporary: boolean): Promise<void> {
  try {
    const { size, mtimeMs } = await lstat(path);
    files.push({ path, diskBytes: diskBytesOf(size), usedAtMs: mtimeMs, isTemporary });
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
  }
}

async function foldersIn(folder: string, pattern: RegExp): Promise<string[]> {
  return (await entriesIn(folder)).filter((entry) => entry.isDirectory() && pattern.test(entry.name)).map((entry) => entry.name);
}

async function filesIn(folder: string, pattern: RegExp): Promise<string[]> {
  return (await entriesIn(folder)).filter((entry) => entry.isFile() && pattern.test(entry.name)).map((entry) => entry.name);
}

async function entriesIn(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return [];
    throw error;
  }
}
