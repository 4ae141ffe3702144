import { createHash } from 'node:crypto';
import { fstatSync, lstatSync, renameSync, rmSync } from 'node:fs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BlockingFolder } from './verified-folder.ts';

/**
 * An entry that is made beside its place, in the same folder, and renamed to it once it is whole: whoever looks at the place, after a
 * kill too, finds what was there or what came, and never a half of it.
 */
export interface PartialEntry {
  /** What it is called until it is moved. */
  readonly name: string;
  /** Whether something is in its place, which goes when it is moved. */
  readonly replaces: boolean;
}

/** What all such names begin with. */
export const partialPrefix = '.holdfast-partial-';

/** Long enough that no two names of a folder meet, and short enough for any file system. */
const digestCharacters = 16;

/**
 * The same for the same name each time, so that the next attempt comes upon what a killed one has left and takes it away. A hash, because
 * a name may have 255 bytes already.
 */
export function partialName(name: string): string {
  const digest = createHash('sha256').update(name).digest('hex').slice(0, digestCharacters);
  return partialPrefix + digest;
}

/** Takes away what a former attempt has left under the name. Errors: those of unlink(2), such as EISDIR for a folder. */
export function removePartial(folder: BlockingFolder, partial: string): void {
  rmSync(folder.at(partial), { force: true });
}

/**
 * Renames the entry to its place. `descriptor` is that of a file that is open. Another recovery that writes the same file at the same
 * time uses the same name: only what is certainly ours is moved. Errors: those of rename(2), target_not_writable.
 */
export function moveIntoPlace(folder: BlockingFolder, partial: string, name: string, descriptor?: number): void {
  if (descriptor !== undefined) {
    const ours = fstatSync(descriptor, { bigint: true });
    const isOurs = (entry: string): boolean => {
      const found = lstatSync(folder.at(entry), { bigint: true, throwIfNoEntry: false });
      return found !== undefined && found.ino === ours.ino && found.dev === ours.dev;
    };
    if (!isOurs(partial)) {
      // Another attempt has moved it for us.
      if (isOurs(name)) return;
      throw new HoldfastError('target_not_writable', `${JSON.stringify(name)} is written by another recovery at the same time`, {
        hint: 'let one recovery end before the next one writes into the same folder',
      });
    }
  }
  renameSync(folder.at(partial), folder.at(name));
}
