import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * An open folder that is certainly the one at `path`, reached through no symlink. Against somebody who swaps a folder for a
 * symlink between a check and its use: what is done through `at` is done in the folder that was checked, wherever its name leads by then.
 */
export interface VerifiedFolder extends AsyncDisposable {
  readonly path: string;
  readonly handle: FileHandle;
  /** A path for system calls on `name` in this folder, good until the folder is disposed of. */
  at(name: string): string;
  /** As `at`, for the folder itself; a symlink, so only for calls that list or follow. */
  readonly itself: string;
}

/**
 * Opens the folder at a real, absolute path.
 * Errors: those of open(2) with their codes, ENOTDIR or ELOOP for a symlink at the end; path_outside_roots when the path leads elsewhere.
 */
export async function openVerifiedFolder(path: string): Promise<VerifiedFolder> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const byHandle = `/proc/self/fd/${String(handle.fd)}`;
    const isByHandle = await verifyPath(handle, path);
    return {
      path,
      handle,
      itself: isByHandle ? byHandle : path,
      at: (name) => posix.join(isByHandle ? byHandle : path, name),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Throws path_outside_roots unless the handle is what is at `path` with no symlink on the way. Gives true when the kernel said
 * so (/proc), false when only a comparison of names was to be had, which somebody quick enough can get round.
 */
export async function verifyPath(handle: FileHandle, path: string): Promise<boolean> {
  const kernelPath = await pathByKernel(handle);
  if (kernelPath === path) return true;
  if (kernelPath === undefined) {
    const [opened, named] = [await handle.stat({ bigint: true }), await lstat(path, { bigint: true })];
    if (opened.dev === named.dev && opened.ino === named.ino && (await realpath(path)) === path) return false;
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
    return await readlink(`/proc/self/fd/${String(handle.fd)}`);
  } catch (error) {
    // A container without /proc.
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A verified folder for calls that block; see VerifiedFolder. */
export interface BlockingFolder {
  readonly path: string;
  readonly descriptor: number;
  /** Whether the kernel vouches for it: then it stays verified for as long as it is open. */
  readonly isByDescriptor: boolean;
  at(name: string): string;
  close(): void;
}

/** As openVerifiedFolder, in the calling thread. */
export function openBlockingFolder(path: string): BlockingFolder {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const link = `/proc/self/fd/${String(descriptor)}`;
    const kernelPath = linkByKernel(link);
    const isByDescriptor = kernelPath === path;
    if (!isByDescriptor && (kernelPath !== undefined || !isSameFolder(descriptor, path))) throw replaced(path);
    const base = isByDescriptor ? link : path;
    return {
      path,
      descriptor,
      isByDescriptor,
      at: (name) => (base === '/' ? `/${name}` : `${base}/${name}`),
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function linkByKernel(link: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return readlinkSync(link);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isSameFolder(descriptor: number, path: string): boolean {
  const [opened, named] = [fstatSync(descriptor, { bigint: true }), lstatSync(path, { bigint: true })];
  return opened.dev === named.dev && opened.ino === named.ino && realpathSync(path) === path;
}
