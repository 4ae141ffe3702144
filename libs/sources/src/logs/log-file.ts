import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { FileHandle } from 'node:fs/promises';
import { readOpenAttributes, type FoundAttributes } from '../extended-attributes.ts';
import { readingError } from '../file-system-error.ts';
import type { SourceFile } from '../source.ts';
import { printablePath } from '../system-path.ts';
import { openVerifiedFile } from '../verified-file.ts';
import { beginsAs, readAt } from './log-reading.ts';
import type { PlannedLog } from './plan-logs.ts';

/**
 * A log as it was when the run began: what is written behind that is the next run's. Where it is truncated meanwhile it ends with what was
 * read before, which is told; where it was truncated and has grown again, what was read may be of two logs, and nothing of it is stored.
 */
export class LogFile implements SourceFile {
  readonly #handle: FileHandle;
  readonly #planned: PlannedLog;
  readonly #onTruncated: (message: string) => void;
  #isTruncated = false;

  constructor(handle: FileHandle, planned: PlannedLog, onTruncated: (message: string) => void) {
    this.#handle = handle;
    this.#planned = planned;
    this.#onTruncated = onTruncated;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    const { path, sizeBytes } = this.#planned.file;
    try {
      const length = this.#isTruncated ? 0 : Math.max(0, Math.min(into.length, sizeBytes - positionBytes));
      if (length === 0) {
        if (!this.#isTruncated) await this.#assertSameLog();
        return 0;
      }
      const bytes = await readAt(this.#handle, positionBytes, length);
      // What was read after it became shorter is not of the log that was there before.
      const { size } = await this.#handle.stat();
      if (bytes.length === length && size >= positionBytes + length) {
        into.set(bytes);
        return length;
      }
      this.#isTruncated = true;
      this.#onTruncated(`${printablePath(path)} was truncated while it was read: its first ${positionBytes} bytes are stored`);
      return 0;
    } catch (error) {
      throw readingError(error, path);
    }
  }

  readAttributes(): FoundAttributes {
    return readOpenAttributes(this.#handle.fd);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #assertSameLog(): Promise<void> {
    const { file, entry } = this.#planned;
    // What a compressed file's text begins with says nothing of its own bytes; nobody truncates those.
    if (entry.encoding !== undefined || entry.state === 'incomplete') return;
    const { mtimeNs } = await this.#handle.stat({ bigint: true });
    if (mtimeNs === file.modifiedNs || beginsAs(await readAt(this.#handle, 0, entry.head.bytes), entry.head)) return;
    throw new HoldfastError('path_not_readable', `${JSON.stringify(file.path)} was truncated and written anew while it was read`, {
      context: { path: file.path },
    });
  }
}

/** Opens the very file that was planned. Errors: path_not_found when another is in its place, path_not_readable. */
export async function openLogFile(planned: PlannedLog, onTruncated: (message: string) => void): Promise<LogFile> {
  const { path, device, inode } = planned.file;
  try {
    const handle = await openVerifiedFile(path);
    try {
      const { dev, ino } = await handle.stat({ bigint: true });
      if (dev === device && ino === inode) return new LogFile(handle, planned, onTruncated);
      throw new HoldfastError('path_not_found', `${JSON.stringify(path)} was rotated since the run began`, { context: { path } });
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    throw readingError(error, path);
  }
}
