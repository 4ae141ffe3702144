import { randomUUID } from 'node:crypto';
import { closeSync, constants, fsync, link, openSync, unlinkSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import { invariant } from '@holdfast/errors/invariant';
import { makeDurableFolder, syncFolder } from './durable-folder.ts';
import { localError } from './local-error.ts';
import { temporaryPrefix } from './local-listing.ts';
import { objectFileMode, openLocalStorage } from './local-storage.ts';
import { assertObjectName } from '../object-name.ts';

const sync = promisify(fsync);
const linkTo = promisify(link);

/**
 * An object of a local storage that goes to disk while it is made, so that nobody has to hold it in memory: a temporary file
 * until `commit` gives it its name, with the promises of Storage.put. Writes block the thread.
 */
export class GrowingObject {
  readonly #root: string;
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** `folder` is where the object is going to lie, or above. Errors: storage_full, storage_denied, storage_unreachable. */
  static async begin(root: string, folder: string): Promise<GrowingObject> {
    const temporary = posix.join(root, folder, `${temporaryPrefix}${randomUUID()}`);
    try {
      return new GrowingObject(root, temporary, await create(temporary));
    } catch (error) {
      throw localError(error, temporary, locationOf(root));
    }
  }

  private constructor(root: string, temporary: string, descriptor: number) {
    this.#root = root;
    this.#temporary = temporary;
    this.#descriptor = descriptor;
  }

  /** Returns when the bytes are written, though not durable. Errors: storage_full, storage_denied, storage_unreachable. */
  append(bytes: Uint8Array): void {
    invariant(this.#descriptor !== undefined, 'an object grows no more once it is committed or discarded');
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(this.#descriptor, bytes, done, bytes.length - done);
    } catch (error) {
      throw localError(error, this.#temporary, locationOf(this.#root));
    }
  }

  /** When it returns, the object is durable under its name; when it throws, nothing of it is left. Errors: as Storage.put. */
  async commit(name: string): Promise<void> {
    assertObjectName(name);
    invariant(this.#descriptor !== undefined, 'an object is committed once');
    const place = posix.join(this.#root, name);
    let isLinked = false;
    try {
      await sync(this.#descriptor);
      await this.#link(name, place);
      isLinked = true;
      await syncFolder(posix.dirname(place));
    } catch (error) {
      // What may be gone after a power cut must not be listed now.
      if (isLinked) unlinkSync(place);
      throw localError(error, name, locationOf(this.#root));
    } finally {
      this.discard();
    }
  }

  /** Removes what is not committed. Calling it twice is no error. */
  discard(): void {
    if (this.#descriptor === undefined) return;
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    try {
      closeSync(descriptor);
      unlinkSync(this.#temporary);
    } catch (error) {
      throw localError(error, this.#temporary, locationOf(this.#root));
    }
  }

  async #link(name: string, place: string): Promise<void> {
    try {
      await linkTo(this.#temporary, place);
    } catch (error) {
      const errno = errnoCode(error);
      if (errno === 'EXDEV') await this.#copyTo(name);
      else if (errno === 'ENOENT') {
        await makeDurableFolder(posix.dirname(place));
        await linkTo(this.#temporary, place);
      } else throw error;
    }
  }

  /** The object's folder is on another disk than the one above it. */
  async #copyTo(name: string): Promise<void> {
    const storage = await openLocalStorage({ path: this.#root });
    await storage.put(name, await readFile(this.#temporary));
  }
}

async function create(path: string): Promise<number> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  try {
    return openSync(path, flags, objectFileMode);
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
  }
  await makeDurableFolder(posix.dirname(path));
  return openSync(path, flags, objectFileMode);
}

const locationOf = (root: string): string => `local:${root}`;
