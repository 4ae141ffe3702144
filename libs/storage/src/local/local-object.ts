import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { localError } from './local-error.ts';
import { assertObjectName } from '../object-name.ts';

/** An object of a local storage that a thread reads by itself, straight into its memory; whoever opened it closes it. */
export interface OpenObject {
  readonly sizeBytes: number;
  /** Fills `into` from `positionBytes` on. Errors: those of Storage.get; storage_object_too_short when the object ends before. */
  read(into: Uint8Array, positionBytes: number): void;
  close(): void;
}

/** `root` is the repository's folder. Blocks the calling thread, as reading does. Errors: those of Storage.get. */
export function openLocalObject(root: string, name: string): OpenObject {
  assertObjectName(name);
  const location = `local:${root}`;
  const translated = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw localError(error, name, location);
    }
  };
  // Without O_NONBLOCK a fifo in an object's place would hold this thread for ever.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const descriptor = translated(() => openSync(posix.join(root, name), flags));
  try {
    const found = translated(() => fstatSync(descriptor));
    if (!found.isFile()) {
      throw new HoldfastError('storage_denied', `${name} at ${location} is no regular file`, { context: { object: name } });
    }
    return {
      sizeBytes: found.size,
      read: (into, positionBytes) => {
        for (let done = 0; done < into.length;) {
          const read = translated(() => readSync(descriptor, into, done, into.length - done, positionBytes + done));
          if (read === 0) {
            const context = { object: name, location, sizeBytes: found.size, offsetBytes: positionBytes, lengthBytes: into.length };
            throw new HoldfastError('storage_object_too_short', `${name} at ${location} ends before the bytes asked for`, { context });
          }
          done += read;
        }
      },
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}
