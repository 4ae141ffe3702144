import { constants } from 'node:fs';
import { access, link, lstat, mkdir, open, opendir, rm, symlink, unlink, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { resolveInsideRoots } from './allowed-roots.ts';
import { writingError } from './file-system-error.ts';
import { setMetadata, typeBitsOf } from './restored-metadata.ts';
import { placeBelow } from './snapshot-path.ts';
import { loadSystemCalls } from './system-calls.ts';
import { printablePath, toSystemPath, type SystemPath } from './system-path.ts';
import type { Target, TargetFile, TargetNode, TargetWarning } from './target.ts';
import { openVerifiedFolder, type VerifiedFolder } from './verified-folder.ts';

/**
 * A recovery into a folder. `/srv/a` of the snapshot becomes `<path>/srv/a`; the folder itself keeps its own mode and times.
 * Everything is made with exclusive creation in a folder that has been opened without following links, so neither a
 * snapshot's own symlinks nor somebody else's lead out of the target. Files are not synced: a recovery that a power cut
 * ends is run again.
 */
export interface FileSystemTargetOptions {
  /** The absolute folder below which everything is put; made by `open` when it is not there. */
  readonly path: string;
  /** The allowed target roots. */
  readonly roots: readonly string[];
  /** Whether a folder that holds something may be written into, and what is in the way replaced; never a folder by something else. */
  readonly overwrite: boolean;
}

/** While it is filled, a folder is nobody else's: modes come with finishDirectory. */
const unfinishedFolderMode = 0o700;
const unfinishedFileMode = 0o600;
/** Beyond it the list only takes memory: whoever gets as many looks for one cause. */
const maxWarningsListed = 10_000;

/** A folder of this machine as a target. Nothing is touched before `open`. */
export function openFileSystemTarget(options: FileSystemTargetOptions): Target {
  return new FileSystemTarget(options);
}

class FileSystemTarget implements Target {
  readonly warnings: TargetWarning[] = [];
  readonly #options: FileSystemTargetOptions;
  readonly #isRoot = process.geteuid?.() === 0;
  readonly #unfinished = new Set<FileSystemTargetFile>();
  #root: string | undefined;
  #hasWarnedOfOwners = false;

  constructor(options: FileSystemTargetOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const root = await resolveInsideRoots(this.#options.path, this.#options.roots);
    try {
      if (await this.#isFolderToUse(root)) await access(toSystemPath(root), constants.R_OK | constants.W_OK | constants.X_OK);
      else await mkdir(toSystemPath(root), { recursive: true, mode: unfinishedFolderMode });
      await using folder = await openVerifiedFolder(root);
      this.#root = folder.path;
    } catch (error) {
      throw writingError(error, root);
    }
  }

  async makeDirectory(path: string, node: TargetNode): Promise<void> {
    if (path === '/') return;
    await this.#within(path, node.name, async (folder, name) => {
      const made = await this.#createReplacing(folder, name, path, async (place) => {
        await mkdir(place, { mode: unfinishedFolderMode });
        return true;
      });
      if (made !== undefined) return;
      // A folder of that name is as good; it only has to let us write.
      await using existing = await openVerifiedFolder(posix.join(folder.path, name));
      const { mode } = await existing.handle.stat();
      if ((mode & unfinishedFolderMode) !== unfinishedFolderMode) await existing.handle.chmod((mode & 0o7777) | unfinishedFolderMode);
    });
  }

  async finishDirectory(path: string, node: TargetNode): Promise<void> {
    if (path === '/') return;
    await this.#within(path, node.name, async (folder, name) => {
      await using finished = await openVerifiedFolder(posix.join(folder.path, name));
      await this.#setMetadata(path, node, folder.at(name), finished.handle);
    });
  }

  async openFile(path: string, node: TargetNode): Promise<TargetFile> {
    return this.#within(path, node.name, async (folder, name) => {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const handle = await this.#createReplacing(folder, name, path, (place) => open(place, flags, unfinishedFileMode));
      if (handle === undefined) throw inTheWay(path);
      const file = new FileSystemTargetFile(handle, path, async () => {
        this.#unfinished.delete(file);
        // Only ever longer: content that the size leaves out is content all the same.
        if (node.sizeBytes > (await handle.stat()).size) await handle.truncate(node.sizeBytes);
        await this.#within(path, node.name, (parent) => this.#setMetadata(path, node, parent.at(name), handle));
      });
      this.#unfinished.add(file);
      return file;
    });
  }

  async makeNode(path: string, node: TargetNode): Promise<void> {
    await this.#within(path, node.name, async (folder, name) => {
      const make = this.#makerOf(node);
      if (make === undefined) return this.#warn(path, `a ${node.type} is not recovered here`);
      const made = await this.#createReplacing(folder, name, path, make);
      if (made === undefined) throw inTheWay(path);
      await this.#setMetadata(path, node, folder.at(name));
    });
  }

  async makeHardLink(path: string, existingPath: string): Promise<void> {
    await this.#within(existingPath, undefined, async (from, existingName) => {
      await this.#within(path, undefined, async (to, name) => {
        const made = await this.#createReplacing(to, name, path, async (place) => {
          await link(from.at(existingName), place);
          return true;
        });
        if (made === undefined) throw inTheWay(path);
      });
    });
  }

  async close(): Promise<void> {
    for (const file of this.#unfinished) {
      await file.abandon();
      await this.#within(file.path, undefined, (folder, name) => rm(folder.at(name), { force: true }));
    }
    this.#unfinished.clear();
  }

  async #isFolderToUse(root: string): Promise<boolean> {
    try {
      // opendir, not readdir: the folder may be one of a million names.
      await using folder = await opendir(toSystemPath(root));
      const isEmpty = (await folder.read()) === null;
      if (isEmpty || this.#options.overwrite) return true;
      throw new HoldfastError('target_not_empty', `${JSON.stringify(root)} is not empty`, { context: { path: root } });
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** Runs `work` in the folder that holds `path`, opened with no link followed. */
  async #within<T>(path: string, nodeName: string | undefined, work: (folder: VerifiedFolder, name: string) => Promise<T>): Promise<T> {
    invariant(this.#root !== undefined, 'the target is used before it is open');
    const place = placeBelow(this.#root, path, nodeName);
    try {
      await using folder = await openVerifiedFolder(posix.dirname(place));
      return await work(folder, posix.basename(place));
    } catch (error) {
      throw writingError(error, place);
    }
  }

  /** What `create` gives; undefined when a folder is in the way. Anything else in the way is removed first, or refused. */
  async #createReplacing<T>(
    folder: VerifiedFolder,
    name: string,
    path: string,
    create: (place: SystemPath) => Promise<T>,
  ): Promise<T | undefined> {
    const place = folder.at(name);
    try {
      return await create(place);
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    if ((await lstat(place)).isDirectory()) return undefined;
    if (!this.#options.overwrite) throw inTheWay(path);
    await unlink(place);
    return create(place);
  }

  #makerOf(node: TargetNode): ((place: SystemPath) => Promise<true>) | undefined {
    const { linkTarget } = node;
    if (node.type === 'symlink' && linkTarget !== undefined) {
      return async (place) => {
        await symlink(toSystemPath(linkTarget), place);
        return true;
      };
    }
    const [typeBits, calls] = [typeBitsOf(node.type), loadSystemCalls()];
    if (typeBits === undefined || calls === undefined) return undefined;
    if ((node.type === 'dev' || node.type === 'chardev') && !this.#isRoot) return undefined;
    return async (place) => {
      calls.makeNode(place, typeBits | unfinishedFileMode, node.device ?? 0n);
      return true;
    };
  }

  async #setMetadata(path: string, node: TargetNode, place: SystemPath, handle?: FileHandle): Promise<void> {
    const isOurs = node.uid === process.geteuid?.() && node.gid === process.getegid?.();
    if (!this.#isRoot && !isOurs && !this.#hasWarnedOfOwners) {
      this.#hasWarnedOfOwners = true;
      this.#warn(path, 'owners are not set, here and below: the worker does not run as root');
    }
    const warn = (reason: string): void => this.#warn(path, reason);
    await setMetadata(node, { path: place, ...(handle === undefined ? {} : { handle }), isRoot: this.#isRoot, warn });
  }

  #warn(path: string, reason: string): void {
    if (this.warnings.length < maxWarningsListed) this.warnings.push({ path: printablePath(path), reason });
    else if (this.warnings.length === maxWarningsListed)
      this.warnings.push({ path: '/', reason: 'there are more warnings than are listed' });
  }
}

class FileSystemTargetFile implements TargetFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #finish: () => Promise<void>;

  constructor(handle: FileHandle, path: string, finish: () => Promise<void>) {
    this.#handle = handle;
    this.path = path;
    this.#finish = finish;
  }

  async write(bytes: Uint8Array, positionBytes: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength;) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.byteLength - done, positionBytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw writingError(error, this.path);
    }
  }

  async close(): Promise<void> {
    try {
      await this.#finish();
    } catch (error) {
      throw writingError(error, this.path);
    } finally {
      await this.#handle.close();
    }
  }

  /** Closes without finishing. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }
}

function inTheWay(path: string): HoldfastError {
  return new HoldfastError('target_not_empty', `something is in the way of ${JSON.stringify(path)}`, { context: { path } });
}
