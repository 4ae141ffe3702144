import { open, type FileHandle } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Source, SourceEntry, SourceFile, SourceNode } from '../source.ts';

/** What the database has as a file, which the copy is shown with. */
export interface FoundFile {
  readonly size: number;
  /** As stat(2) gives it. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface CopySourceOptions {
  /** Of the database's file. */
  readonly name: string;
  readonly found: FoundFile;
  /** Where the copy lies, once it is whole. */
  readonly copied: () => Promise<{ readonly path: string }>;
  readonly takenAtMs: () => number;
}

/** One file, `/<name>`: a copy that can be listed while it is being made, and is opened when it is whole. */
export class CopySource implements Source {
  readonly paths: readonly string[];
  readonly #options: CopySourceOptions;

  constructor(options: CopySourceOptions) {
    this.paths = [`/${options.name}`];
    this.#options = options;
  }

  async readDirectory(path: string): Promise<SourceEntry[]> {
    if (path !== '/') throw notFound(path);
    const { name, found, takenAtMs } = this.#options;
    const timeNs = BigInt(takenAtMs()) * 1_000_000n;
    // The time is the backup's: a copy is never taken for an earlier one of the same size.
    const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
    const { size: sizeBytes, mode, uid, gid } = found;
    const owner = { mode: mode & 0o7777, uid, gid };
    const node: SourceNode = { name, type: 'file', ...times, ...owner, sizeBytes, inode: 0n, deviceId: 0n, linkCount: 1n };
    return [{ kind: 'node', node }];
  }

  async openFile(path: string): Promise<SourceFile> {
    if (path !== this.paths[0]) throw notFound(path);
    const copied = await this.#options.copied();
    return new CopyFile(await open(copied.path, 'r'));
  }

  async estimate(): Promise<{ files: number; bytes: number }> {
    return { files: 1, bytes: this.#options.found.size };
  }

  /** The copy is the part's. */
  async close(): Promise<void> {}
}

class CopyFile implements SourceFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    const { bytesRead } = await this.#handle.read(into, 0, into.byteLength, positionBytes);
    return bytesRead;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

function notFound(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `the backup of a SQLite database has no ${path}`);
}
