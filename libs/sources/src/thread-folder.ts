import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readingError } from './file-system-error.ts';
import { pathFromBytes, toSystemPath } from './system-path.ts';
import { splitPath } from './verified-folder.ts';

/** One folder of a file system source, open in a thread that reads its files with blocking calls. */
export interface ThreadFolder {
  /**
   * The descriptor of a regular file in the folder, which the caller closes. Errors, here and on opening a folder:
   * path_not_found for what has vanished or was replaced by something else, path_not_readable.
   */
  openFile(name: string): number;
  close(): void;
}

/** O_NOATIME where there is one: reading for a backup is not the access that people look for. */
const noAccessTime = process.platform === 'linux' ? constants.O_NOATIME : 0;
/** Without O_NONBLOCK a fifo that has taken a file's place would hold the thread for ever. */
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

const pathOf = (descriptor: number): string => `/proc/self/fd/${String(descriptor)}`;

/** Opens the folder at a real, absolute path; whoever swaps a folder for a symlink meanwhile leads nobody elsewhere. */
export function openThreadFolder(path: string): ThreadFolder {
  const { reachable, names } = splitPath(path);
  let descriptor = translated(path, () => openSync(toSystemPath(reachable), folderFlags));
  try {
    let base = translated(path, () => verifiedBase(descriptor, reachable));
    // What one call does not take is opened name by name, each in the folder before it and none of them a symlink.
    for (const name of names) {
      const next = translated(path, () => openSync(toSystemPath(`${base}/${name}`), folderFlags));
      closeSync(descriptor);
      descriptor = next;
      base = pathOf(descriptor);
    }
    return {
      openFile: (name) => translated(posix.join(path, name), () => openRegularFile(`${base}/${name}`, posix.join(path, name))),
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** A path for calls on names in the folder; with /proc it stays with this folder wherever its name leads by then. */
function verifiedBase(descriptor: number, path: string): string {
  const byDescriptor = pathOf(descriptor);
  const kernelPath = pathByKernel(byDescriptor);
  if (kernelPath === path) return byDescriptor;
  if (kernelPath === undefined) {
    const [opened, named] = [fstatSync(descriptor, { bigint: true }), lstatSync(toSystemPath(path), { bigint: true })];
    if (
      opened.dev === named.dev &&
      opened.ino === named.ino &&
      pathFromBytes(realpathSync(toSystemPath(path), { encoding: 'buffer' })) === path
    )
      return path === '/' ? '' : path;
  }
  throw replaced(path);
}

function pathByKernel(link: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return pathFromBytes(readlinkSync(link, { encoding: 'buffer' }));
  } catch (error) {
    // A container without /proc.
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function openRegularFile(path: string, shownPath: string): number {
  const descriptor = openForReading(path);
  try {
    if (fstatSync(descriptor).isFile()) return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  closeSync(descriptor);
  throw replaced(shownPath);
}

function openForReading(path: string): number {
  try {
    return openSync(toSystemPath(path), readFlags | noAccessTime);
  } catch (error) {
    // Only the owner and root may leave the access time alone.
    if (errnoCode(error) !== 'EPERM' || noAccessTime === 0) throw error;
    return openSync(toSystemPath(path), readFlags);
  }
}

function replaced(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `${JSON.stringify(path)} was replaced while in use, or leads through a symlink`, {
    context: { path },
  });
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw readingError(error, path);
  }
}
