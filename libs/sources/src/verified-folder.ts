import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { pathFromBytes, toSystemPath, type SystemPath } from './system-path.ts';

/**
 * An open folder that is certainly the one at `path`, reached through no symlink. Against somebody who swaps a folder for a
 * symlink between a check and its use: what is done through `at` is done in the folder that was checked, wherever its name leads by then.
 */
export interface VerifiedFolder extends AsyncDisposable {
  readonly path: string;
  readonly handle: FileHandle;
  /** A path for system calls on `name` in this folder, good until the folder is disposed of. */
  at(name: string): SystemPath;
  /** As `at`, for the folder itself; a symlink, so only for calls that list or follow. */
  readonly itself: SystemPath;
}

/** PATH_MAX of Linux is 4096 with its NUL, for what a call is given and for what /proc tells; the rest is for a name behind it. */
const maxCallPathBytes = 3_800;

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens the folder at a real, absolute path of any length: beyond what one call takes it goes on name by name.
 * Errors: those of open(2) with their codes, ENOTDIR or ELOOP for a symlink at the end; path_outside_roots when the path leads elsewhere.
 */
export async function openVerifiedFolder(path: string): Promise<VerifiedFolder> {
  const { reachable, names } = splitPath(path);
  const handle = await open(toSystemPath(reachable), folderFlags);
  try {
    const isByHandle = await verifyPath(handle, reachable);
    if (names.length > 0) return await descend(handle, names, path);
    return folderOf(path, handle, isByHandle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Whether one call to the system takes the path. */
export function isWithinOneCall(path: string): boolean {
  // No character takes more than three bytes a UTF-16 unit, so most paths need not be measured.
  return path.length * 3 <= maxCallPathBytes || Buffer.byteLength(path) <= maxCallPathBytes;
}

/** The longest part of the path that one call takes, and the names that are left. */
export function splitPath(path: string): { reachable: string; names: string[] } {
  const names: string[] = [];
  let reachable = path;
  while (!isWithinOneCall(reachable)) {
    names.unshift(posix.basename(reachable));
    reachable = posix.dirname(reachable);
  }
  return { reachable, names };
}

/** Each name is opened in the folder before it and is no symlink, so there is nothing on the way that could lead elsewhere. Closes `first`. */
async function descend(first: FileHandle, names: readonly string[], path: string): Promise<VerifiedFolder> {
  let handle = first;
  for (const name of names) {
    // The one before is closed by whoever opened it when this fails.
    const next = await open(toSystemPath(posix.join(pathOfHandle(handle), name)), folderFlags).catch(async (error: unknown) => {
      if (handle !== first) await handle.close();
      throw error;
    });
    if (handle !== first) await handle.close();
    handle = next;
  }
  await first.close();
  return folderOf(path, handle, true);
}

function folderOf(path: string, handle: FileHandle, isByHandle: boolean): VerifiedFolder {
  const itself = isByHandle ? pathOfHandle(handle) : path;
  return {
    path,
    handle,
    itself: toSystemPath(itself),
    at: (name) => toSystemPath(posix.join(itself, name)),
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

const pathOfHandle = (handle: FileHandle): string => pathOfDescriptor(handle.fd);

const pathOfDescriptor = (descriptor: number): string => `/proc/self/fd/${String(descriptor)}`;

/**
 * Throws path_outside_roots unless the handle is what is at `path` with no symlink on the way. Gives true when the kernel said
 * so (/proc), false when only a comparison of names was to be had, which somebody quick enough can get round.
 */
export async function verifyPath(handle: FileHandle, path: string): Promise<boolean> {
  const kernelPath = await pathByKernel(handle);
  if (kernelPath === path) return true;
  if (kernelPath === undefined) {
    const [opened, named] = [await handle.stat({ bigint: true }), await lstat(toSystemPath(path), { bigint: true })];
    if (opened.dev === named.dev && opened.ino === named.ino && (await realPathOf(path)) === path) return false;
  }
  throw replaced(path);
}

function replaced(path: string): HoldfastError {
  return new HoldfastError('path_outside_roots', `${JSON.stringify(path)} was replaced while in use, or leads through a symlink`, {
    context: { path },
  });
}

async function pathByKernel(handle: FileHandle): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    return pathFromBytes(await readlink(pathOfHandle(handle), { encoding: 'buffer' }));
  } catch (error) {
    // A container without /proc.
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** realpath(3), for any bytes. */
export async function realPathOf(path: string): Promise<string> {
  return pathFromBytes(await realpath(toSystemPath(path), { encoding: 'buffer' }));
}

/** A verified folder for calls that block; see VerifiedFolder. */
export interface BlockingFolder {
  readonly path: string;
  readonly descriptor: number;
  /** Whether the kernel vouches for it: then it stays verified for as long as it is open. */
  readonly isByDescriptor: boolean;
  at(name: string): SystemPath;
  close(): void;
}

/** As openVerifiedFolder, in the calling thread. */
export function openBlockingFolder(path: string): BlockingFolder {
  const { reachable, names } = splitPath(path);
  let descriptor = openSync(toSystemPath(reachable), folderFlags);
  try {
    let isByDescriptor = isVouchedFor(descriptor, reachable);
    for (const name of names) {
      const next = openSync(toSystemPath(posix.join(pathOfDescriptor(descriptor), name)), folderFlags);
      closeSync(descriptor);
      descriptor = next;
      isByDescriptor = true;
    }
    return blockingFolderOf(path, descriptor, isByDescriptor);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** The folder of that name in an open one, which vouches for it: no symlink can be on the way. Errors: as openBlockingFolder. */
export function openFolderIn(folder: BlockingFolder, name: string): BlockingFolder {
  const path = posix.join(folder.path, name);
  if (!folder.isByDescriptor) return openBlockingFolder(path);
  return blockingFolderOf(path, openSync(folder.at(name), folderFlags), true);
}

function blockingFolderOf(path: string, descriptor: number, isByDescriptor: boolean): BlockingFolder {
  const base = isByDescriptor ? pathOfDescriptor(descriptor) : path;
  const at = (name: string): SystemPath => toSystemPath(base === '/' ? `/${name}` : `${base}/${name}`);
  return { path, descriptor, isByDescriptor, at, close: () => closeSync(descriptor) };
}

/** As verifyPath. */
function isVouchedFor(descriptor: number, path: string): boolean {
  const kernelPath = linkByKernel(descriptor);
  if (kernelPath === path) return true;
  if (kernelPath === undefined) {
    const [opened, named] = [fstatSync(descriptor, { bigint: true }), lstatSync(toSystemPath(path), { bigint: true })];
    const realPath = pathFromBytes(realpathSync(toSystemPath(path), { encoding: 'buffer' }));
    if (opened.dev === named.dev && opened.ino === named.ino && realPath === path) return false;
  }
  throw replaced(path);
}

function linkByKernel(descriptor: number): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return pathFromBytes(readlinkSync(pathOfDescriptor(descriptor), { encoding: 'buffer' }));
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
