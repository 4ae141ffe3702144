import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, open, rm, stat, unlink } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { makeDurableFolder, syncFolder } from './durable-folder.ts';
import { localError } from './local-error.ts';
import { listLocalObjects, temporaryPrefix } from './local-listing.ts';
import { assertListPrefix, assertObjectName } from '../object-name.ts';
import { readExactly, writeFully } from './local-bytes.ts';
import type { CallOptions, GetOptions, Storage, StoredObject, ThreadStorageOptions } from '../storage.ts';
import { untilAborted } from '../until-aborted.ts';

/**
 * A repository in a folder of this machine, in restic's layout, so that stock restic opens the folder as it is.
 *
 * An object is written to a temporary file beside its place, synced, and then linked to its name: link(2), unlike rename(2),
 * never replaces. The folders appear with their first object. Folders may be symlinks (data/ on another disk), objects not.
 */
export interface LocalStorageOptions {
  /** The repository's folder, checked already; made by the first put when it is not there. */
  readonly path: string;
}

/** Nobody but the worker's user reads objects; what they hold is sealed all the same. */
export const objectFileMode = 0o600;

/** Opens a folder as a storage. Nothing is made yet. Errors: storage_denied, storage_unreachable. */
export async function openLocalStorage({ path }: LocalStorageOptions): Promise<Storage> {
  const storage = new LocalStorage(path);
  try {
    const found = await stat(path);
    if (!found.isDirectory()) throw new HoldfastError('storage_denied', `${storage.location} is not a folder`, { context: { path } });
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw localError(error, 'the repository folder', storage.location);
  }
  return storage;
}

class LocalStorage implements Storage {
  readonly location: string;
  readonly threadOptions: ThreadStorageOptions;
  readonly #path: string;
  /** Puts whose caller may have gone after an abort; they still remove their temporary file. */
  readonly #unsettled = new Set<Promise<unknown>>();

  constructor(path: string) {
    this.#path = path;
    this.location = `local:${path}`;
    this.threadOptions = { kind: 'local', path };
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    const { signal } = options;
    signal?.throwIfAborted();
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    const state = { isCommitted: false };
    const work = this.#translated(name, () => this.#write(name, parts, signal, state));
    this.#unsettled.add(work);
    const forget = (): boolean => this.#unsettled.delete(work);
    work.then(forget, forget);
    await untilAborted(work, signal, () => state.isCommitted);
  }

  async get(name: string, options: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    options.signal?.throwIfAborted();
    return untilAborted(
      this.#translated(name, () => this.#read(name, options)),
      options.signal,
    );
  }

  async stat(name: string, options: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    options.signal?.throwIfAborted();
    const found = await untilAborted(
      this.#translated(name, () => lstat(this.#pathOf(name))),
      options.signal,
    );
    if (!found.isFile()) throw this.#notAnObject(name);
    return { name, sizeBytes: found.size, modifiedAt: found.mtime };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    const objects = listLocalObjects(this.#path, prefix)[Symbol.asyncIterator]();
    for (;;) {
      options.signal?.throwIfAborted();
      const next = await untilAborted(
        this.#translated(prefix === '' ? 'the repository folder' : prefix, () => objects.next()),
        options.signal,
      );
      if (next.done === true) return;
      yield next.value;
    }
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    options.signal?.throwIfAborted();
    await untilAborted(
      this.#translated(name, () => this.#remove(name)),
      options.signal,
    );
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#unsettled);
  }

  async #write(
    name: string,
    parts: readonly Uint8Array[],
    signal: AbortSignal | undefined,
    state: { isCommitted: boolean },
  ): Promise<void> {
    const place = this.#pathOf(name);
    const folder = posix.dirname(place);
    const temporary = posix.join(folder, `${temporaryPrefix}${randomUUID()}`);
    const handle = await this.#createIn(folder, temporary);
    try {
      try {
        await writeFully(handle, parts, signal);
        await handle.sync();
      } finally {
        await handle.close();
      }
      signal?.throwIfAborted();
      // From here on the object may be seen, so an abort comes too late.
      state.isCommitted = true;
      await link(temporary, place);
    } finally {
      await unlink(temporary);
    }
    try {
      await syncFolder(folder);
    } catch (error) {
      // What may be gone after a power cut must not be listed now.
      await rm(place, { force: true });
      throw error;
    }
  }

  async #createIn(folder: string, temporary: string): ReturnType<typeof open> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    try {
      return await open(temporary, flags, objectFileMode);
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT') throw error;
      await makeDurableFolder(folder);
      return open(temporary, flags, objectFileMode);
    }
  }

  async #read(name: string, { range, signal }: GetOptions): Promise<Uint8Array> {
    // Without O_NONBLOCK a fifo in an object's place would hold this thread for ever.
    const handle = await open(this.#pathOf(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const found = await handle.stat();
      if (!found.isFile()) throw this.#notAnObject(name);
      const { offsetBytes, lengthBytes } = range ?? { offsetBytes: 0, lengthBytes: found.size };
      const bytes = found.size >= offsetBytes + lengthBytes ? await readExactly(handle, offsetBytes, lengthBytes, signal) : undefined;
      if (bytes !== undefined) return bytes;
      const context = { object: name, location: this.location, sizeBytes: found.size, offsetBytes, lengthBytes };
      throw new HoldfastError('storage_object_too_short', `${name} at ${this.location} ends before the bytes asked for`, { context });
    } finally {
      await handle.close();
    }
  }

  async #remove(name: string): Promise<void> {
    const place = this.#pathOf(name);
    try {
      await unlink(place);
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT') throw error;
      return;
    }
    await syncFolder(posix.dirname(place));
  }

  async #translated<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw localError(error, name, this.location);
    }
  }

  #notAnObject(name: string): HoldfastError {
    return new HoldfastError('storage_denied', `${name} at ${this.location} is no regular file`, { context: { object: name } });
  }

  #pathOf(name: string): string {
    return posix.join(this.#path, name);
  }
}
