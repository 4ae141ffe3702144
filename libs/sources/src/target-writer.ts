import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { writingError } from './file-system-error.ts';
import { setMetadata, typeBitsOf } from './restored-metadata.ts';
import { placeBelow } from './snapshot-path.ts';
import { loadSystemCalls } from './system-calls.ts';
import { printablePath, toSystemPath, type SystemPath } from './system-path.ts';
import type { TargetNode, TargetWarning, ThreadTargetOptions } from './target.ts';
import { openBlockingFolder, type BlockingFolder } from './verified-folder.ts';

/**
 * Writes into the folder of a file system target, with calls that block the thread: for the small files of a recovery a call that
 * waits in another thread costs more than the call. Everything is made with exclusive creation in a folder that was opened without
 * following links; folders stay open from one file to the next. Several writers may work in one target.
 * Errors of all calls: path_outside_roots, target_not_empty (something is in the way), target_not_writable, disk_full.
 */

/** While it is filled, a folder is nobody else's: modes come with finishDirectory. */
const unfinishedFolderMode = 0o700;
const unfinishedFileMode = 0o600;
const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Beyond it the list only takes memory: whoever gets as many looks for one cause. */
const maxWarningsListed = 10_000;
/** Folders that stay open, each a descriptor. */
const maxOpenFolders = 64;

export class TargetWriter {
  #warnings: TargetWarning[] = [];
  readonly #root: string;
  readonly #overwrite: boolean;
  readonly #uid = process.geteuid?.();
  readonly #gid = process.getegid?.();
  readonly #isRoot = this.#uid === 0;
  readonly #ownersWarned: Int32Array;
  /** Least recently used first. */
  readonly #folders = new Map<string, BlockingFolder>();

  constructor({ root, overwrite, ownersWarned }: ThreadTargetOptions) {
    this.#root = root;
    this.#overwrite = overwrite;
    this.#ownersWarned = new Int32Array(ownersWarned);
  }

  /** What could not be set since the last time it was asked. */
  takeWarnings(): TargetWarning[] {
    const warnings = this.#warnings;
    this.#warnings = [];
    return warnings;
  }

  makeDirectory(path: string, node: TargetNode): void {
    if (path === '/') return;
    this.#within(path, node.name, (folder, name) => {
      const isMade = this.#createReplacing(folder, name, path, (place) => {
        mkdirSync(place, { mode: unfinishedFolderMode });
        return true;
      });
      if (isMade === true) return;
      // A folder of that name is as good; it only has to let us write.
      const existing = openBlockingFolder(posix.join(folder.path, name));
      try {
        const { mode } = fstatSync(existing.descriptor);
        if ((mode & unfinishedFolderMode) !== unfinishedFolderMode) fchmodSync(existing.descriptor, (mode & 0o7777) | unfinishedFolderMode);
      } finally {
        existing.close();
      }
    });
  }

  finishDirectory(path: string, node: TargetNode): void {
    if (path === '/') return;
    this.#within(path, node.name, (folder, name) => {
      const finished = openBlockingFolder(posix.join(folder.path, name));
      try {
        this.#setMetadata(path, node, folder.at(name), finished.descriptor);
      } finally {
        finished.close();
      }
    });
  }

  /** A whole file in one go; when it throws, there is none. */
  writeFile(path: string, node: TargetNode, bytes: Uint8Array): void {
    this.#within(path, node.name, (folder, name) => {
      const descriptor = this.#create(folder, name, path);
      try {
        this.write(descriptor, bytes, 0, path);
        this.#finish(path, node, descriptor, { folder, name, writtenBytes: bytes.length });
      } catch (error) {
        rmSync(folder.at(name), { force: true });
        throw error;
      } finally {
        closeSync(descriptor);
      }
    });
  }

  /** An empty file that is open for writing, for `write` and `finishFile`; the caller closes it. */
  createFile(path: string, node: TargetNode): number {
    return this.#within(path, node.name, (folder, name) => this.#create(folder, name, path));
  }

  write(descriptor: number, bytes: Uint8Array, positionBytes: number, path: string): void {
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(descriptor, bytes, done, bytes.length - done, positionBytes + done);
    } catch (error) {
      throw writingError(error, path);
    }
  }

  /** Lengthens the file to its size when less was written, then sets owner, mode and times. */
  finishFile(path: string, node: TargetNode, descriptor: number): void {
    this.#within(path, node.name, (folder, name) => {
      this.#finish(path, node, descriptor, { folder, name, writtenBytes: fstatSync(descriptor).size });
    });
  }

  removeFile(path: string): void {
    this.#within(path, undefined, (folder, name) => rmSync(folder.at(name), { force: true }));
  }

  makeNode(path: string, node: TargetNode): void {
    this.#within(path, node.name, (folder, name) => {
      const make = this.#makerOf(node);
      if (make === undefined) return this.#warn(path, `a ${node.type} is not recovered here`);
      if (this.#createReplacing(folder, name, path, make) === undefined) throw inTheWay(path);
      this.#setMetadata(path, node, folder.at(name));
    });
  }

  makeHardLink(path: string, existingPath: string): void {
    this.#within(existingPath, undefined, (from, existingName) => {
      const existing = from.at(existingName);
      this.#within(path, undefined, (to, name) => {
        const isMade = this.#createReplacing(to, name, path, (place) => {
          linkSync(existing, place);
          return true;
        });
        if (isMade === undefined) throw inTheWay(path);
      });
    });
  }

  /** Closes the folders. */
  close(): void {
    for (const folder of this.#folders.values()) folder.close();
    this.#folders.clear();
  }

  /** Runs `work` in the folder that holds `path`, opened with no link followed. */
  #within<T>(path: string, nodeName: string | undefined, work: (folder: BlockingFolder, name: string) => T): T {
    const place = placeBelow(this.#root, path, nodeName);
    try {
      // The place is regular: there is nothing that posix.dirname would have to look for.
      const slash = place.lastIndexOf('/');
      const folder = this.#openFolder(slash === 0 ? '/' : place.slice(0, slash));
      try {
        return work(folder, place.slice(slash + 1));
      } finally {
        // Nobody but the kernel vouches for it beyond this call.
        if (!folder.isByDescriptor) folder.close();
      }
    } catch (error) {
      throw writingError(error, place);
    }
  }

  #openFolder(path: string): BlockingFolder {
    const open = this.#folders.get(path);
    if (open !== undefined) {
      this.#folders.delete(path);
      this.#folders.set(path, open);
      return open;
    }
    const folder = openBlockingFolder(path);
    if (!folder.isByDescriptor) return folder;
    this.#folders.set(path, folder);
    for (const [oldest, leastUsed] of this.#folders) {
      if (this.#folders.size <= maxOpenFolders) break;
      this.#folders.delete(oldest);
      leastUsed.close();
    }
    return folder;
  }

  #create(folder: BlockingFolder, name: string, path: string): number {
    const descriptor = this.#createReplacing(folder, name, path, (place) => openSync(place, createFlags, unfinishedFileMode));
    if (descriptor === undefined) throw inTheWay(path);
    return descriptor;
  }

  #finish(path: string, node: TargetNode, descriptor: number, { folder, name, writtenBytes }: WrittenFile): void {
    // Only ever longer: content that the size leaves out is content all the same.
    if (node.sizeBytes > writtenBytes) ftruncateSync(descriptor, node.sizeBytes);
    this.#setMetadata(path, node, folder.at(name), descriptor);
  }

  /** What `create` gives; undefined when a folder is in the way. Anything else in the way is removed first, or refused. */
  #createReplacing<T>(folder: BlockingFolder, name: string, path: string, create: (place: SystemPath) => T): T | undefined {
    const place = folder.at(name);
    try {
      return create(place);
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    if (lstatSync(place).isDirectory()) return undefined;
    if (!this.#overwrite) throw inTheWay(path);
    unlinkSync(place);
    return create(place);
  }

  #makerOf(node: TargetNode): ((place: SystemPath) => true) | undefined {
    const { linkTarget } = node;
    if (node.type === 'symlink' && linkTarget !== undefined) {
      return (place) => {
        symlinkSync(toSystemPath(linkTarget), place);
        return true;
      };
    }
    const [typeBits, calls] = [typeBitsOf(node.type), loadSystemCalls()];
    if (typeBits === undefined || calls === undefined) return undefined;
    if ((node.type === 'dev' || node.type === 'chardev') && !this.#isRoot) return undefined;
    return (place) => {
      calls.makeNode(place, typeBits | unfinishedFileMode, node.device ?? 0n);
      return true;
    };
  }

  #setMetadata(path: string, node: TargetNode, place: SystemPath, descriptor?: number): void {
    const isOurs = node.uid === this.#uid && node.gid === this.#gid;
    if (!this.#isRoot && !isOurs && Atomics.exchange(this.#ownersWarned, 0, 1) === 0) {
      this.#warn(path, 'owners are not set, here and below: the worker does not run as root');
    }
    const warn = (reason: string): void => this.#warn(path, reason);
    setMetadata(node, { path: place, ...(descriptor === undefined ? {} : { descriptor }), isRoot: this.#isRoot, warn });
  }

  #warn(path: string, reason: string): void {
    if (this.#warnings.length < maxWarningsListed) this.#warnings.push({ path: printablePath(path), reason });
    else if (this.#warnings.length === maxWarningsListed)
      this.#warnings.push({ path: '/', reason: 'there are more warnings than are listed' });
  }
}

interface WrittenFile {
  readonly folder: BlockingFolder;
  readonly name: string;
  readonly writtenBytes: number;
}

function inTheWay(path: string): HoldfastError {
  return new HoldfastError('target_not_empty', `something is in the way of ${JSON.stringify(path)}`, { context: { path } });
}
