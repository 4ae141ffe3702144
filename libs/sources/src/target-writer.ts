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
import { nsOfTime, setFileTimes, setMetadata, typeBitsOf } from './restored-metadata.ts';
import { isPlainName, outsideError, placeBelow } from './snapshot-path.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';
import { removeEntries } from './remove-entries.ts';
import { dataRuns } from './sparse-runs.ts';
import { pathFromBytes, printablePath, toSystemPath, type SystemPath } from './system-path.ts';
import { TargetFolders, type TargetFolder } from './target-folders.ts';
import type { NewFile, TargetNode, TargetWarning, ThreadTargetOptions } from './target.ts';
import { openFolderIn } from './verified-folder.ts';

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
  /** Undefined where writing back is not to be started, or cannot be. */
  readonly #writebackCalls: Pick<SystemCalls, 'startWriteback'> | undefined;
  /** -1, which nobody has, where there are no users. */
  readonly #uid = process.geteuid?.() ?? -1;
  readonly #gid = process.getegid?.() ?? -1;
  readonly #isRoot = this.#uid === 0;
  readonly #ownersWarned: Int32Array;
  readonly #folders: TargetFolders;

  constructor({ root, overwrite, ownersWarned, isSparse = false, startsWriteback = false }: ThreadTargetOptions) {
    this.#isSparse = isSparse;
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
      const isMade = this.#createReplacing(folder, name, path, (place) => {
        mkdirSync(place, { mode: unfinishedFolderMode });
        return true;
      });
      if (isMade === true) return true;
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
      const descriptor = this.#open(folder, folderPath, file.name, isGiven ? file.mode : unfinishedFileMode);
      try {
        this.#fill(folder, folderPath, file, bytes, descriptor, isGiven);
      } catch (error) {
        rmSync(folder.at(file.name), { force: true });
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
    return this.#folders.within(path, node.name, (folder, name) => this.#create(folder, name, path));
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

  /** Lengthens the file to its size when less was written, then sets owner, mode and times. */
  finishFile(path: string, node: TargetNode, descriptor: number): void {
    this.#folders.within(path, node.name, (folder, name) => {
      this.#finish(path, node, descriptor, { folder, name, writtenBytes: fstatSync(descriptor).size });
    });
  }

  removeFile(path: string): void {
    this.#folders.within(path, undefined, (folder, name) => rmSync(folder.at(name), { force: true }));
  }

  /** Removes what the folder holds under other names than these; gives how many entries that were, those below not counted. */
  removeOthers(path: string, names: ReadonlySet<string>, options: { readonly isDryRun?: boolean } = {}): number {
    const place = path === '/' ? this.#root : placeBelow(this.#root, path);
    try {
      return removeEntries(place, (name) => !names.has(name), options);
    } catch (error) {
      throw writingError(error, place);
    }
  }

  makeNode(path: string, node: TargetNode): void {
    this.#folders.within(path, node.name, (folder, name) => {
      const make = this.#makerOf(node);
      if (make === undefined) return this.#warn(path, `a ${node.type} is not recovered here`);
      if (this.#createReplacing(folder, name, path, make) === undefined) throw inTheWay(path);
      this.#setMetadata(path, node, folder.at(name));
    });
  }

  makeHardLink(path: string, existingPath: string): void {
    this.#folders.within(existingPath, undefined, (from, existingName) => {
      const existing = from.at(existingName);
      this.#folders.within(path, undefined, (to, name) => {
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

  #open(folder: TargetFolder, folderPath: string, name: string, mode: number): number {
    try {
      return openSync(folder.at(name), createFlags, mode);
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    const path = pathIn(folderPath, name);
    const descriptor = this.#createReplacing(folder, name, path, (place) => openSync(place, createFlags, mode));
    if (descriptor === undefined) throw inTheWay(path);
    return descriptor;
  }

  /** Content, owner, mode and times of a new file. */
  #fill(folder: TargetFolder, folderPath: string, file: NewFile, bytes: Uint8Array, descriptor: number, isGiven: boolean): void {
    const path = pathIn(folderPath, file.name);
    if (bytes.length > 0) this.write(descriptor, bytes, 0, path);
    if (file.sizeBytes > bytes.length) ftruncateSync(descriptor, file.sizeBytes);
    if (isGiven && folder.hasGiven(descriptor, file.mode, this.#uid, this.#gid))
      setFileTimes(file, descriptor, (reason) => this.#warn(path, reason));
    else this.#setMetadata(path, nodeOfFile(file), folder.at(file.name), descriptor);
  }

  /** Whether the process's user and group are the owner. */
  #isOwn({ uid, gid, extendedAttributes }: NewFile): boolean {
    return uid === this.#uid && gid === this.#gid && extendedAttributes === undefined;
  }

  #create(folder: TargetFolder, name: string, path: string): number {
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
  #createReplacing<T>(folder: TargetFolder, name: string, path: string, create: (place: SystemPath) => T): T | undefined {
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

/** What is in the place of something that is to be restored. */
export interface ExistingEntry {
  readonly type: 'file' | 'dir' | 'symlink' | 'other';
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  readonly linkTarget?: string;
}

interface WrittenFile {
  readonly folder: TargetFolder;
  readonly name: string;
  readonly writtenBytes: number;
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

function inTheWay(path: string): HoldfastError {
  return new HoldfastError('target_not_empty', `something is in the way of ${JSON.stringify(path)}`, { context: { path } });
}
