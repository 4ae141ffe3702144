import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { toSystemPath, type SystemPath } from './system-path.ts';
import { isWithinOneCall, openVerifiedFolder, verifyPath } from './verified-folder.ts';

/** O_NOATIME where there is one: reading for a backup is not the access that people look for. */
const noAccessTime = process.platform === 'linux' ? constants.O_NOATIME : 0;
/** Without O_NONBLOCK a fifo that has taken a file's place would hold a thread for ever. */
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens what is at a real, absolute path for reading, reached through no symlink; the caller looks whether it is a regular file.
 * Errors: those of open(2), path_outside_roots when the path leads elsewhere.
 */
export async function openVerifiedFile(path: string): Promise<FileHandle> {
  // Two calls for a path that one call takes; else through its folder.
  if (!isWithinOneCall(path)) {
    await using folder = await openVerifiedFolder(posix.dirname(path));
    return await openForReading(folder.at(posix.basename(path)));
  }
  const handle = await openForReading(toSystemPath(path));
  try {
    await verifyPath(handle, path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openForReading(path: SystemPath): Promise<FileHandle> {
  try {
    return await open(path, readFlags | noAccessTime);
  } catch (error) {
    // Only the owner and root may leave the access time alone.
    if (errnoCode(error) !== 'EPERM' || noAccessTime === 0) throw error;
    return open(path, readFlags);
  }
}
