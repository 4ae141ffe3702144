import { closeSync, constants, write } from 'node:fs';
import { access, mkdir, opendir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { resolveInsideRoots } from './allowed-roots.ts';
import { writingError } from './file-system-error.ts';
import { toSystemPath } from './system-path.ts';
import type { Target, TargetFile, TargetNode, TargetWarning, ThreadTargetOptions } from './target.ts';
import { TargetWriter } from './target-writer.ts';
import { openVerifiedFolder } from './verified-folder.ts';

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
  /** The folder is there and others' things are in it: it is not asked whether it is empty, or lets us write, for that is done deeper. */
  readonly isShared?: boolean;
  /** See ThreadTargetOptions. */
  readonly startsWriteback?: boolean;
}

/** A folder that the target makes for itself is nobody else's. */
const rootMode = 0o700;

/** A folder of this machine as a target. Nothing is touched before `open`. */
export function openFileSystemTarget(options: FileSystemTargetOptions): Target {
  return new FileSystemTarget(options);
}

class FileSystemTarget implements Target {
  readonly #options: FileSystemTargetOptions;
  readonly #warnings: TargetWarning[] = [];
  readonly #unfinished = new Set<FileSystemTargetFile>();
  #threadOptions: ThreadTargetOptions | undefined;
  #openWriter: TargetWriter | undefined;

  constructor(options: FileSystemTargetOptions) {
    this.#options = options;
  }

  get threadOptions(): ThreadTargetOptions | undefined {
    return this.#threadOptions;
  }

  get warnings(): readonly TargetWarning[] {
    this.#warnings.push(...(this.#openWriter?.takeWarnings() ?? []));
    return this.#warnings;
  }

  async open(): Promise<void> {
    const root = await resolveInsideRoots(this.#options.path, this.#options.roots);
    try {
      const { isShared = false } = this.#options;
      const isThere = await this.#isFolderToUse(root);
      if (isThere && !isShared) await access(toSystemPath(root), constants.R_OK | constants.W_OK | constants.X_OK);
      if (!isThere) await mkdir(toSystemPath(root), { recursive: true, mode: rootMode });
      await using folder = await openVerifiedFolder(root);
      const { overwrite, startsWriteback = false } = this.#options;
      this.#threadOptions = { kind: 'file_system', root: folder.path, overwrite, startsWriteback, ownersWarned: new SharedArrayBuffer(4) };
      this.#openWriter = new TargetWriter(this.#threadOptions);
    } catch (error) {
      throw writingError(error, root);
    }
  }

  async preview(): Promise<ThreadTargetOptions> {
    const root = await resolveInsideRoots(this.#options.path, this.#options.roots);
    try {
      await this.#isFolderToUse(root);
    } catch (error) {
      throw writingError(error, root);
    }
    return { kind: 'file_system', root, overwrite: this.#options.overwrite, ownersWarned: new SharedArrayBuffer(4) };
  }

  async makeDirectory(path: string, node: TargetNode): Promise<void> {
    this.#writer.makeDirectory(path, node);
  }

  async finishDirectory(path: string, node: TargetNode): Promise<void> {
    this.#writer.finishDirectory(path, node);
  }

  async openFile(path: string, node: TargetNode): Promise<TargetFile> {
    const writer = this.#writer;
    const file = new FileSystemTargetFile(writer.createFile(path, node), path, (descriptor) => {
      this.#unfinished.delete(file);
      writer.finishFile(path, node, descriptor);
    });
    this.#unfinished.add(file);
    return file;
  }

  async makeNode(path: string, node: TargetNode): Promise<void> {
    this.#writer.makeNode(path, node);
  }

  async makeHardLink(path: string, existingPath: string): Promise<void> {
    this.#writer.makeHardLink(path, existingPath);
  }

  async close(): Promise<void> {
    for (const file of this.#unfinished) {
      file.abandon();
      this.#writer.removeFile(file.path);
    }
    this.#unfinished.clear();
    this.#openWriter?.close();
  }

  get #writer(): TargetWriter {
    invariant(this.#openWriter !== undefined, 'the target is used before it is open');
    return this.#openWriter;
  }

  async #isFolderToUse(root: string): Promise<boolean> {
    if (this.#options.isShared === true) return true;
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
}

const writeTo = promisify(write);

class FileSystemTargetFile implements TargetFile {
  readonly path: string;
  readonly #descriptor: number;
  readonly #finish: (descriptor: number) => void;

  constructor(descriptor: number, path: string, finish: (descriptor: number) => void) {
    this.#descriptor = descriptor;
    this.path = path;
    this.#finish = finish;
  }

  async write(bytes: Uint8Array, positionBytes: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength;) {
        const { bytesWritten } = await writeTo(this.#descriptor, bytes, done, bytes.byteLength - done, positionBytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw writingError(error, this.path);
    }
  }

  async close(): Promise<void> {
    try {
      this.#finish(this.#descriptor);
    } finally {
      closeSync(this.#descriptor);
    }
  }

  /** Closes without finishing. */
  abandon(): void {
    closeSync(this.#descriptor);
  }
}
