import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Sum of the sizes of all files below. Links are not followed, as a recursive listing of Node's would: pgBackRest has one to its last backup. */
export function treeSizeBytes(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sum + treeSizeBytes(path);
    return sum + (entry.isFile() ? statSync(path).size : 0);
  }, 0);
}
