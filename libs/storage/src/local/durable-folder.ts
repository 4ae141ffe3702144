import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { posix, resolve } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';

/** Only the worker's user may look into a repository: names and sizes tell something too. */
const folderMode = 0o700;

/** Makes the entries of a folder durable: new names, and names that are gone. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (error) {
    // Network and FUSE file systems that cannot sync a folder say so with these; there is nothing more to be had from them.
    if (errnoCode(error) !== 'EINVAL' && errnoCode(error) !== 'ENOTSUP') throw error;
  } finally {
    await handle.close();
  }
}

/** Makes a folder and those above it that are missing, durably. */
export async function makeDurableFolder(path: string): Promise<void> {
  // Absolute, as mkdir's answer is: the way up to the first folder that was made would have no end otherwise.
  const place = resolve(path);
  const first = await mkdir(place, { recursive: true, mode: folderMode });
  if (first === undefined) return;
  for (let made = place; made.length >= first.length; made = posix.dirname(made)) await syncFolder(posix.dirname(made));
}
