import { fstatSync, lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { pathFromBytes } from './system-path.ts';
import { openBlockingFolder, openFolderIn, type BlockingFolder } from './verified-folder.ts';

export interface RemoveOptions {
  /** Nothing goes; the rest is told as if it did. */
  readonly isDryRun: boolean;
  /** What stays: the entry of that name in the folder at that path, and with it the folders above. */
  readonly spares: (folderPath: string, name: string) => boolean;
  /** Of each entry that goes, those in a folder before it; the bytes are those of a file. */
  readonly onRemoved: (path: string, sizeBytes: number) => void;
  /** Of each that cannot go, with the system's error. What is above it stays too. */
  readonly onRefused: (path: string, error: unknown) => void;
}

/**
 * Removes entries of the folder at a real, absolute place, folders with all that is in them; `path` is what it is called to the options.
 * Each folder is opened with no link followed before anything in it goes: who swaps a folder for a link meanwhile has the link removed,
 * and nothing behind it. A folder that is not there has no entries. Errors: those of opening the folder itself, path_outside_roots.
 */
export function removeEntries(place: string, path: string, options: RemoveOptions): void {
  let folder: BlockingFolder;
  try {
    folder = openBlockingFolder(place);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    removeIn(folder, path, options);
  } finally {
    folder.close();
  }
}

/** Whether the folder is empty then, or would be. */
function removeIn(folder: BlockingFolder, path: string, options: RemoveOptions): boolean {
  let isEmpty = true;
  for (const bytes of readdirSync(folder.at('.'), { encoding: 'buffer' })) {
    const name = pathFromBytes(bytes);
    const at = posix.join(path, name);
    if (options.spares(path, name)) isEmpty = false;
    else {
      try {
        if (!removeEntry(folder, name, at, options)) isEmpty = false;
      } catch (error) {
        if (errnoCode(error) === undefined) throw error;
        options.onRefused(at, error);
        isEmpty = false;
      }
    }
  }
  return isEmpty;
}

/** False when something in it stays, so that it stays itself. */
function removeEntry(folder: BlockingFolder, name: string, path: string, options: RemoveOptions): boolean {
  const place = folder.at(name);
  const found = lstatSync(place);
  if (!found.isDirectory()) {
    if (!options.isDryRun) unlinkSync(place);
    options.onRemoved(path, found.isFile() ? found.size : 0);
    return true;
  }
  const inner = openFolderIn(folder, name);
  try {
    // Who mounts something here does not mean it to be emptied.
    if (fstatSync(inner.descriptor).dev !== fstatSync(folder.descriptor).dev)
      throw Object.assign(new Error('is mounted'), { code: 'EXDEV' });
    if (!removeIn(inner, path, options)) return false;
  } finally {
    inner.close();
  }
  if (!options.isDryRun) rmdirSync(place);
  options.onRemoved(path, 0);
  return true;
}
