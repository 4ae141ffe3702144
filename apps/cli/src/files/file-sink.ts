import { once } from 'node:events';
import { link, open, rename, rm } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** Where a download goes. Disposing of one that is not finished leaves nothing of it. */
export interface FileSink extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>;
  /** What has come so far was of another file. */
  restart(): Promise<void>;
  finish(): Promise<void>;
}

/** Beside the file, so that taking its name is one step. */
const partSuffix = '.holdfast-part';
/** What was in a backup may be nobody else's business. */
const partMode = 0o600;

/**
 * A file, which has its name when it is whole. One that is there already is not touched, unless it is to be replaced.
 * Codes: conflict (it is there), target_not_writable.
 */
export async function openFileSink(path: string, { replaces }: { readonly replaces: boolean }): Promise<FileSink> {
  const part = `${path}${partSuffix}`;
  const file = await open(part, 'w', partMode).catch((error: unknown) => {
    throw new HoldfastError('target_not_writable', `${part} cannot be written: ${errnoCode(error) ?? String(error)}`, { cause: error });
  });
  let positionBytes = 0;
  let isFinished = false;
  return {
    async write(bytes) {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, positionBytes);
        at += bytesWritten;
        positionBytes += bytesWritten;
      }
    },
    async restart() {
      await file.truncate(0);
      positionBytes = 0;
    },
    async finish() {
      await file.sync();
      if (replaces) await rename(part, path);
      else await takeName(part, path);
      isFinished = true;
    },
    async [Symbol.asyncDispose]() {
      await file.close();
      if (!isFinished || !replaces) await rm(part, { force: true });
    },
  };
}

/** A link, unlike a rename, takes no name that somebody has. */
async function takeName(part: string, path: string): Promise<void> {
  try {
    await link(part, path);
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error;
    throw new HoldfastError('conflict', `${path} is there already`, {
      hint: 'name another file, or replace it with --force',
      cause: error,
    });
  }
}

/** A stream such as standard output, which stays open. What went through it cannot be taken back. */
export function streamSink(stream: Writable): FileSink {
  let writtenBytes = 0;
  return {
    async write(bytes) {
      writtenBytes += bytes.length;
      if (!stream.write(bytes)) await once(stream, 'drain');
    },
    async restart() {
      if (writtenBytes > 0) throw new HoldfastError('conflict', 'the file is another one by now, and a part of it was written already');
    },
    async finish() {},
    async [Symbol.asyncDispose]() {},
  };
}
