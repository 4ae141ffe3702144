import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Takes the content of all files below, not the files: an ext4 without a journal looks again and again at every file that was removed in
 * the last minutes when it makes one, half a second for a thousand files.
 */
export function emptyFiles(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) truncateSync(join(entry.parentPath, entry.name));
  }
}
