import { fstatSync, constants } from 'node:fs';
import { writingError } from './file-system-error.ts';
import { placeBelow } from './snapshot-path.ts';
import type { SystemPath } from './system-path.ts';
import { openBlockingFolder, type BlockingFolder } from './verified-folder.ts';

/**
 * The folders that a target is written in, each opened without following links, and kept open from one file to the next: opening one
 * costs as much as writing a small file.
 */
export class TargetFolders {
  readonly #root: string;
  /** By path below the root, least recently used first. */
  readonly #open = new Map<string, TargetFolder>();
  /** The one that was asked for last, mostly asked for again. */
  #lastPath: string | undefined;
  #last: TargetFolder | undefined;

  /** `root` is real and absolute. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Runs `work` in the folder that holds `path`, opened with no link followed. Errors: path_outside_roots, those of writing, `work`'s. */
  within<T>(path: string, nodeName: string | undefined, work: (folder: TargetFolder, name: string) => T): T {
    const place = placeBelow(this.#root, path, nodeName);
    try {
      // The place is regular: there is nothing that posix.dirname would have to look for.
      const slash = place.lastIndexOf('/');
      const folder = this.#folderAt(slash === 0 ? '/' : place.slice(0, slash));
      try {
        return work(folder, place.slice(slash + 1));
      } finally {
        this.leave(folder);
      }
    } catch (error) {
      throw writingError(error, place);
    }
  }

  /** The folder at a path of the snapshot, for as long as nothing else is asked for. The caller leaves it. Errors: as `within`. */
  enter(path: string): TargetFolder {
    if (path === this.#lastPath && this.#last !== undefined) return this.#last;
    const place = path === '/' ? this.#root : placeBelow(this.#root, path);
    let folder: TargetFolder;
    try {
      folder = this.#folderAt(place);
    } catch (error) {
      throw writingError(error, place);
    }
    if (!folder.isByDescriptor) return folder;
    this.#lastPath = path;
    this.#last = folder;
    return folder;
  }

  leave(folder: TargetFolder): void {
    // Nobody but the kernel vouches for it beyond one call.
    if (!folder.isByDescriptor) folder.close();
  }

  close(): void {
    for (const folder of this.#open.values()) folder.close();
    this.#open.clear();
    this.#last = this.#lastPath = undefined;
  }

  #folderAt(place: string): TargetFolder {
    const open = this.#open.get(place);
    if (open !== undefined) {
      this.#open.delete(place);
      this.#open.set(place, open);
      return open;
    }
    const folder = new TargetFolder(openBlockingFolder(place));
    if (!folder.isByDescriptor) return folder;
    this.#open.set(place, folder);
    for (const [oldest, leastUsed] of this.#open) {
      if (this.#open.size <= maxOpenFolders) break;
      this.#open.delete(oldest);
      if (leastUsed === this.#last) this.#last = this.#lastPath = undefined;
      leastUsed.close();
    }
    return folder;
  }
}

/** Folders that stay open, each a descriptor. */
const maxOpenFolders = 64;
const modeBits = 0o7777;
const modesOfOthers = 0o077;

/** An open folder, and what is known of the files that are made in it. */
export class TargetFolder implements BlockingFolder {
  readonly path: string;
  readonly descriptor: number;
  readonly isByDescriptor: boolean;
  readonly #folder: BlockingFolder;
  #isPrivate: boolean | undefined;
  /** A mode that new files get as it was asked for, and with it the process's own user and group; -1 when none is known. */
  #provenMode = -1;

  constructor(folder: BlockingFolder) {
    this.#folder = folder;
    this.path = folder.path;
    this.descriptor = folder.descriptor;
    this.isByDescriptor = folder.isByDescriptor;
  }

  at(name: string): SystemPath {
    return this.#folder.at(name);
  }

  close(): void {
    this.#folder.close();
  }

  /**
   * Whether nobody but the process's user can come to what is in it, and nobody else can change that, so that a file that is not
   * whole yet may have the mode that it is to have.
   */
  isPrivateTo(uid: number): boolean {
    if (this.#isPrivate === undefined) {
      const found = fstatSync(this.descriptor);
      this.#isPrivate = found.uid === uid && (found.mode & modesOfOthers) === 0 && (found.mode & constants.S_IRWXU) !== 0;
    }
    return this.#isPrivate;
  }

  /**
   * Whether a file that was just made here has mode and owner as asked for. Creation makes them so, but for a umask, an inherited group or
   * access control list, or a file system with a mind of its own: the first file of a mode tells for the others.
   */
  hasGiven(fileDescriptor: number, mode: number, uid: number, gid: number): boolean {
    if (this.#provenMode === mode) return true;
    const found = fstatSync(fileDescriptor);
    if ((found.mode & modeBits) !== mode || found.uid !== uid || found.gid !== gid) return false;
    this.#provenMode = mode;
    return true;
  }
}
