import { lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { pathFromBytes } from './system-path.ts';
import { openBlockingFolder } from './verified-folder.ts';

/**
 * Removes entries of the folder at a real, absolute path, folders with all that is in them; gives how many. Each folder is opened
 * with no link followed before anything in it goes: who swaps a folder for a link meanwhile has the link removed, and nothing behind it.
 * A dry run only counts. A folder that is not there has no entries. Errors: those of the system, path_outside_roots.
 */
export function removeEntries(
  path: string,
  isToGo: (name: string) => boolean,
  { isDryRun = false }: { readonly isDryRun?: boolean } = {},
): number {
  let removedCount = 0;
  let folder: ReturnType<typeof openBlockingFolder>;
  try {
    folder = openBlockingFolder(path);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return 0;
    throw error;
  }
  try {
    for (const bytes of readdirSync(folder.at('.'), { encoding: 'buffer' })) {
      const name = pathFromBytes(bytes);
      if (!isToGo(name)) continue;
      removedCount++;
      if (isDryRun) continue;
      const place = folder.at(name);
      if (lstatSync(place).isDirectory()) {
        removeEntries(posix.join(path, name), () => true);
        rmdirSync(place);
      } else {
        unlinkSync(place);
      }
    }
  } finally {
    folder.close();
  }
  return removedCount;
}
