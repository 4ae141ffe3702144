/**
 * Writes into the folder of a file system target, with calls that block the thread: for the small files of a recovery a call that
 * waits in another thread costs more than the call. Everything is made with exclusive creation in a folder that was opened without
 * following links; folders stay open from one file to the next. Several writers may work in one target. A file or link that is there
 * is replaced by one that was made beside it (see partial-entry.ts): a kill leaves the one or the other.
 * Long because it is all that is done to a target, each call in the few lines that it takes.
 * Errors of all calls: path_outside_roots, target_not_empty (something is in the way), target_not_writable, disk_full.
 */

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
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { writingError } from './file-system-error.ts';
import { moveIntoPlace, partialName, removePartial, type PartialEntry } from './partial-entry.ts';
import { nsOfTime, setFileTimes, setMetadata, typeBitsOf } from './restored-metadata.ts';
import { isPlainName, outsideError, placeBelow } from './snapshot-path.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';
import { removeEntries, type RemoveOptions } from './remove-entries.ts';
import { dataRuns } from './sparse-runs.ts';
import { pathFromBytes, printablePath, toSystemPath, type SystemPath } from './system-path.ts';
import { TargetFolders, type TargetFolder } from './target-folders.ts';
import type { NewFile, TargetNode, TargetWarning, ThreadTargetOptions } from './target.ts';
import { openFolderIn } from './verified-folder.ts';

/** While it is filled, a folder is nobody else's: modes come with finishDirectory. */
const unfinishedFolderMode = 0o700;
const unfinishedFileMode = 0o600;
const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** A fifo in a file's place does not hold the thread. */
const keepFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Beyond it the list only takes memory: whoever gets as many looks for one cause. */
const maxWarningsListed = 10_000;
/** Beyond rwx: set-user-id and what else creation does not give. */
const specialBits = 0o7000;

export class TargetWriter {
  #warnings: TargetWarning[] = [];
  readonly #root: string;
  readonly #overwrite: boolean;
  readonly #isSparse: boolean;
  readonly #writesBeside: boolean;
  readonly #setsOwners: boolean;
  /** Of files that are open and not in their place yet, by path. */
  readonly #partials = new Map<string, PartialEntry>();
  #replacedCount = 0;
  #displaced = { count: 0, bytes: 0 };
  /** Undefined where writing back is not to be started, or cannot be. */
  readonly #writebackCalls: Pick<SystemCalls, 'startWriteback'> | undefined;
  /** -1, which nobody has, where there are no users. */
  readonly #uid = process.geteuid?.() ?? -1;
  readonly #gid = process.getegid?.() ?? -1;
  readonly #isRoot = this.#uid === 0;
  readonly #ownersWarned: Int32Array;
  readonly #folders: TargetFolders;

  constructor(options: ThreadTargetOptions) {
    const { root, overwrite, ownersWarned, isSparse = false, startsWriteback = false, writesBeside = false, setsOwners = true } = options;
    this.#isSparse = isSparse;
    this.#writesBeside = writesBeside;
    this.#setsOwners = setsOwners;
    if (startsWriteback) this.#writebackCalls = loadSystemCalls();
    this.#root = root;
    this.#folders = new TargetFolders(root);
    this.#overwrite = overwrite;
    this.#ownersWarned = new Int32Array(ownersWarned);
  }

  /** What could not be set since the last time it was asked. */
  takeWarnings(): TargetWarning[] {
    const warnings = this.#warnings;
    this.#warnings = [];
    return warnings;
  }

  /** How many entries were replaced since the last time it was asked. */
  takeReplacedCount(): number {
    const count = this.#replacedCount;
    this.#replacedCount = 0;
    return count;
  }

  /** What had to go for a folder since the last time it was asked. */
  takeDisplaced(): { readonly count: number; readonly bytes: number } {
    const displaced = this.#displaced;
    this.#displaced = { count: 0, bytes: 0 };
    return displaced;
  }

  /** What is there under this path already, itself and not what a link leads to; undefined when there is nothing. */
  look(path: string): ExistingEntry | undefined {
    return this.#ifThere(path, (folder, name) => {
      const found = lstatSync(folder.at(name), { bigint: true });
      const linkTarget = found.isSymbolicLink() ? pathFromBytes(readlinkSync(folder.at(name), { encoding: 'buffer' })) : undefined;
      return {
        type: found.isFile() ? 'file' : found.isDirectory() ? 'dir' : found.isSymbolicLink() ? 'symlink' : 'other',
        sizeBytes: Number(found.size),
        modifiedNs: found.mtimeNs,
        ...(linkTarget === undefined ? {} : { linkTarget }),
      };
    });
  }

  /** Sets owner, mode and times of a file that is there and stays. False when it cannot be opened, or is none any more. */
  keepFile(path: string, node: TargetNode): boolean {
    const isKept = this.#ifThere(path, (folder, name) => {
      let descriptor: number;
      try {
        descriptor = openSync(folder.at(name), keepFlags);
      } catch {
        // Not ours to read, or gone: it is restored as if it was not there.
        return false;
      }
      try {
        if (!fstatSync(descriptor).isFile()) return false;
        this.#setMetadata(path, node, folder.at(name), descriptor);
        return true;
      } finally {
        closeSync(descriptor);
      }
    });
    return isKept === true;
  }

  /** False when a folder was there. */
  makeDirectory(path: string, node: TargetNode): boolean {
    if (path === '/') return false;
    return this.#folders.within(path, node.name, (folder, name) => {
      if (this.#makeFolder(folder.at(name), path)) return true;
      // A folder of that name is as good; it only has to let us write.
      const existing = openFolderIn(folder, name);
      try {
        const { mode } = fstatSync(existing.descriptor);
        if ((mode & unfinishedFolderMode) !== unfinishedFolderMode) fchmodSync(existing.descriptor, (mode & 0o7777) | unfinishedFolderMode);
      } finally {
        existing.close();
      }
      return false;
    });
  }

  finishDirectory(path: string, node: TargetNode): void {
    if (path === '/') return;
    this.#folders.within(path, node.name, (folder, name) => {
      const finished = openFolderIn(folder, name);
      try {
        this.#setMetadata(path, node, folder.at(name), finished.descriptor);
      } finally {
        finished.close();
      }
    });
  }

  /** A whole file in one go, in the folder at a path of the snapshot; when it throws, there is none. */
  writeFile(folderPath: string, file: NewFile, bytes: Uint8Array): void {
    if (!isPlainName(file.name)) throw outsideError(pathIn(folderPath, file.name));
    const folder = this.#folders.enter(folderPath);
    try {
      // Owner and mode are those of its creation, where nobody can see the difference.
      const isGiven = this.#isOwn(file) && (file.mode & specialBits) === 0 && folder.isPrivateTo(this.#uid);
      const { made: descriptor, partial } = this.#open(folder, folderPath, file.name, isGiven ? file.mode : unfinishedFileMode);
      const name = partial?.name ?? file.name;
      try {
        this.#fill({ folder, folderPath, name }, file, bytes, { descriptor, isGiven });
        if (partial !== undefined) this.#move(folder, partial, file.name, descriptor);
      } catch (error) {
        rmSync(folder.at(name), { force: true });
        throw error;
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      throw writingError(error, pathIn(folderPath, file.name));
    } finally {
      this.#folders.leave(folder);
    }
  }

  /** An empty file that is open for writing, for `write` and `finishFile`; the caller closes it. */
  createFile(path: string, node: TargetNode): number {
    return this.#folders.within(path, node.name, (folder, name) => {
      const created = this.#create(folder, name, path, (place) => openSync(place, createFlags, unfinishedFileMode));
      if (created.partial !== undefined) this.#partials.set(path, created.partial);
      return created.made;
    });
  }

  write(descriptor: number, bytes: Uint8Array, positionBytes: number, path: string): void {
    const runs = this.#isSparse ? dataRuns(bytes, positionBytes) : [{ start: 0, end: bytes.length }];
    try {
      for (const { start, end } of runs) {
        for (let done = start; done < end;) done += writeSync(descriptor, bytes, done, end - done, positionBytes + done);
        this.#writebackCalls?.startWriteback(descriptor, positionBytes + start, end - start);
      }
    } catch (error) {
      throw writingError(error, path);
    }
  }

  closeFile(descriptor: number): void {
    closeSync(descriptor);
  }

  /**
   * Lengthens the file to its size when less was written, then sets owner, mode and times, and puts it in its place. One that is not
   * whole gets the time 0, by which a later recovery knows it, and replaces nothing.
   */
  finishFile(path: string, node: TargetNode, descriptor: number, isWhole = true): void {
    this.#folders.within(path, node.name, (folder, name) => {
      const partial = this.#partials.get(path);
      this.#partials.delete(path);
      if (!isWhole && partial?.replaces === true) return removePartial(folder, partial.name);
      // Only ever longer: content that the size leaves out is content all the same.
      if (node.sizeBytes > fstatSync(descriptor).size) ftruncateSync(descriptor, node.sizeBytes);
      const finished = isWhole ? node : { ...node, modifiedNs: 0n };
      this.#setMetadata(path, finished, folder.at(partial?.name ?? name), descriptor);
      if (partial !== undefined) this.#move(folder, partial, name, descriptor);
    });
  }

  /** Removes a file that is not finished; what it was to replace stays. */
  removeFile(path: string): void {
    this.#folders.within(path, undefined, (folder, name) => {
      const partial = this.#partials.get(path);
      this.#partials.delete(path);
      rmSync(folder.at(partial?.name ?? name), { force: true });
    });
  }

  /**
   * Removes what the folder holds under other names than these, with all that is below; `options` hears of each entry, and may spare
   * some. Paths are those of the target.
   */
  removeOthers(path: string, names: ReadonlySet<string>, options: RemoveOptions): void {
    const place = path === '/' ? this.#root : placeBelow(this.#root, path);
    try {
      removeEntries(place, path, { ...options, spares: (at, name) => (at === path && names.has(name)) || options.spares(at, name) });
    } catch (error) {
      throw writingError(error, place);
    }
  }

  makeNode(path: string, node: TargetNode): void {
    this.#folders.within(path, node.name, (folder, name) => {
      const make = this.#makerOf(node);
      if (make === undefined) return this.#warn(path, `a ${node.type} is not recovered here`);
      const { partial } = this.#create(folder, name, path, make);
      this.#setMetadata(path, node, folder.at(partial?.name ?? name));
      if (partial !== undefined) this.#move(folder, partial, name);
    });
  }

  makeHardLink(path: string, existingPath: string): void {
    this.#folders.within(existingPath, undefined, (from, existingName) => {
      const existing = from.at(existingName);
      this.#folders.within(path, undefined, (to, name) => {
        // rename(2) does nothing with two names of one file.
        if (isSameFile(existing, to.at(name))) return;
        const { partial } = this.#create(to, name, path, (place) => linkSync(existing, place));
        if (partial !== undefined) this.#move(to, partial, name);
      });
    });
  }

  /** Closes the folders. */
  close(): void {
    this.#folders.close();
  }

  /** As within; undefined when `work` or the way there comes upon nothing. */
  #ifThere<T>(path: string, work: (folder: TargetFolder, name: string) => T): T | undefined {
    try {
      return this.#folders.within(path, undefined, work);
    } catch (error) {
      if (error instanceof HoldfastError && error.context['errno'] === 'ENOENT') return undefined;
      throw error;
    }
  }

  #open(folder: TargetFolder, folderPath: string, name: string, mode: number): Created<number> {
    if (!this.#writesBeside) {
      try {
        return { made: openSync(folder.at(name), createFlags, mode) };
      } catch (error) {
        if (errnoCode(error) !== 'EEXIST') throw error;
      }
    }
    return this.#create(folder, name, pathIn(folderPath, name), (place) => openSync(place, createFlags, mode));
  }

  /** Content, owner, mode and times of a new file, which is called `name` as yet. */
  #fill(where: FilePlace, file: NewFile, bytes: Uint8Array, { descriptor, isGiven }: OpenedFile): void {
    const { folder, folderPath, name } = where;
    const path = pathIn(folderPath, file.name);
    if (bytes.length > 0) this.write(descriptor, bytes, 0, path);
    if (file.sizeBytes > bytes.length) ftruncateSync(descriptor, file.sizeBytes);
    if (isGiven && folder.hasGiven(descriptor, file.mode, this.#uid, this.#gid))
      setFileTimes(file, descriptor, (reason) => this.#warn(path, reason));
    else this.#setMetadata(path, nodeOfFile(file), folder.at(name), descriptor);
  }

  /** Whether the process's user and group are to be the owner. */
  #isOwn({ uid, gid, extendedAttributes }: NewFile): boolean {
    return extendedAttributes === undefined && (!this.#setsOwners || (uid === this.#uid && gid === this.#gid));
  }

  /**
   * What `create` gives, in the place itself or beside it when something is there already.
   * Errors: target_not_empty for a folder that is there, and for anything unless it may be replaced.
   */
  #create<T>(folder: TargetFolder, name: string, path: string, create: (place: SystemPath) => T): Created<T> {
    if (!this.#writesBeside) {
      try {
        return { made: create(folder.at(name)) };
      } catch (error) {
        if (errnoCode(error) !== 'EEXIST') throw error;
      }
    }
    const existing = lstatSync(folder.at(name), { throwIfNoEntry: false });
    if (existing !== undefined && (!this.#overwrite || existing.isDirectory())) throw inTheWay(path);
    const partial = { name: partialName(name), replaces: existing !== undefined };
    removePartial(folder, partial.name);
    return { made: create(folder.at(partial.name)), partial };
  }

  #move(folder: TargetFolder, partial: PartialEntry, name: string, descriptor?: number): void {
    try {
      moveIntoPlace(folder, partial.name, name, descriptor);
    } catch (error) {
      removePartial(folder, partial.name);
      throw error;
    }
    if (partial.replaces) this.#replacedCount++;
  }

  /** False when a folder is there. No folder can take the place of something else in one step: that goes first, or it is refused. */
  #makeFolder(place: SystemPath, path: string): boolean {
    const make = (): void => mkdirSync(place, { mode: unfinishedFolderMode });
    try {
      make();
      return true;
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    const existing = lstatSync(place);
    if (existing.isDirectory()) return false;
    if (!this.#overwrite) throw inTheWay(path);
    unlinkSync(place);
    make();
    this.#displaced.count++;
    this.#displaced.bytes += existing.isFile() ? existing.size : 0;
    return true;
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

  #setMetadata(path: string, given: TargetNode, place: SystemPath, descriptor?: number): void {
    const node = this.#setsOwners ? given : withoutOwner(given);
    const isOurs = !this.#setsOwners || (node.uid === this.#uid && node.gid === this.#gid);
    if (!this.#isRoot && !isOurs && Atomics.exchange(this.#ownersWarned, 0, 1) === 0) {
      this.#warn(path, 'owners are not set, here and below: the worker does not run as root');
    }
    const warn = (reason: string): void => this.#warn(path, reason);
    const setsOwner = this.#isRoot && this.#setsOwners;
    setMetadata(node, { path: place, ...(descriptor === undefined ? {} : { descriptor }), setsOwner, warn });
  }

  #warn(path: string, reason: string): void {
    if (this.#warnings.length < maxWarningsListed) this.#warnings.push({ path: printablePath(path), reason });
    else if (this.#warnings.length === maxWarningsListed)
      this.#warnings.push({ path: '/', reason: 'there are more warnings than are listed' });
  }
}

/** What is in the place of something that is to be restored. */
export interface ExistingEntry {
  readonly type: 'file' | 'dir' | 'symlink' | 'other';
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  readonly linkTarget?: string;
}

/** `partial` is missing where it is in its place. */
interface Created<T> {
  readonly made: T;
  readonly partial?: PartialEntry;
}

interface FilePlace {
  readonly folder: TargetFolder;
  readonly folderPath: string;
  readonly name: string;
}

interface OpenedFile {
  readonly descriptor: number;
  /** Whether it was created with the mode that it is to have. */
  readonly isGiven: boolean;
}

/** Set-user-id and set-group-id bits are the owner's to give: another owner does not inherit them. On folders the latter hands on a group. */
function withoutOwner(node: TargetNode): TargetNode {
  return node.type === 'dir' ? node : { ...node, mode: node.mode & ~0o6000 };
}

function isSameFile(a: SystemPath, b: SystemPath): boolean {
  const [first, second] = [lstatSync(a, { bigint: true }), lstatSync(b, { bigint: true, throwIfNoEntry: false })];
  return first.ino === second?.ino && first.dev === second.dev;
}

/** The path of a name in a folder of the snapshot. */
function pathIn(folderPath: string, name: string): string {
  return folderPath === '/' ? `/${name}` : `${folderPath}/${name}`;
}

function nodeOfFile(file: NewFile): TargetNode {
  const { name, mode, uid, gid, sizeBytes, extendedAttributes, accessedSeconds, accessedNs, modifiedSeconds, modifiedNs } = file;
  return {
    name,
    type: 'file',
    mode,
    uid,
    gid,
    sizeBytes,
    accessedNs: nsOfTime(accessedSeconds, accessedNs),
    modifiedNs: nsOfTime(modifiedSeconds, modifiedNs),
    ...(extendedAttributes === undefined ? {} : { extendedAttributes }),
  };
}

/** What is thrown for something that may not be replaced, or is a folder. */
export function inTheWay(path: string): HoldfastError {
  return new HoldfastError('target_not_empty', `something is in the way of ${JSON.stringify(path)}`, { context: { path } });
}
