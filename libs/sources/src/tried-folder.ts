import { accessSync, constants, fstatSync, statfsSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { writingError } from './file-system-error.ts';
import { placeBelow } from './snapshot-path.ts';
import { toSystemPath } from './system-path.ts';
import { openBlockingFolder, type BlockingFolder } from './verified-folder.ts';

/** A folder that a recovery would write into, or the one that it would be made in. */
export interface TriedFolder {
  /** Of the file system that holds it. */
  readonly deviceId: bigint;
  /** The folder that is there. */
  readonly place: string;
}

/**
 * Looks whether the process may make entries in a folder at a path below the real, absolute `root`, or in the nearest one above that is
 * there. Rights that only the attempt shows, such as of a sticky folder or a file that is immutable, are not seen.
 * Errors: target_not_writable; path_outside_roots where a symlink is on the way.
 */
export function tryFolder(root: string, path: string): TriedFolder {
  for (let place = path === '/' ? root : placeBelow(root, path); ; place = posix.dirname(place)) {
    try {
      const folder = openBlockingFolder(place);
      try {
        const { dev } = fstatSync(folder.descriptor, { bigint: true });
        assertWritable(folder);
        return { deviceId: dev, place };
      } finally {
        folder.close();
      }
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT' || place === '/') throw writingError(error, place);
    }
  }
}

/** A folder of our own lets us write once a recovery has changed its mode. */
function assertWritable(folder: BlockingFolder): void {
  try {
    accessSync(folder.at('.'), constants.W_OK | constants.X_OK);
  } catch (error) {
    if (errnoCode(error) !== 'EACCES' || fstatSync(folder.descriptor).uid !== process.geteuid?.()) throw error;
  }
}

export interface FreeSpace {
  /** What this process may fill; what is kept back for root is not in it. */
  readonly freeBytes: number;
  readonly blockBytes: number;
  /** Files and folders that can still be made; null where that has no limit. */
  readonly freeEntries: number | null;
}

/** What is free in the file system of a folder that is there. Errors: target_not_writable. */
export function freeSpaceAt(place: string): FreeSpace {
  try {
    const { bavail, bsize, files, ffree } = statfsSync(toSystemPath(place));
    return { freeBytes: bavail * bsize, blockBytes: bsize, freeEntries: files === 0 ? null : ffree };
  } catch (error) {
    throw writingError(error, place);
  }
}
