import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { FTPError } from 'basic-ftp';
import { assertListPrefix, assertObjectName, isObjectName } from '../object-name.ts';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import type { CallOptions, GetOptions, Storage, StoredObject } from '../storage.ts';
import type { SweepableStorage } from '../sweep.ts';
import { untilAborted } from '../until-aborted.ts';
import { type FtpConnection, openFtpConnection } from './ftp-connection.ts';
import { ftpError } from './ftp-error.ts';
import { entriesOf, isTemporaryName, walkFiles } from './ftp-listing.ts';
import { deleteObject, readObject, renameToObject, statObject, temporaryPathOf, writeTemporary } from './ftp-object.ts';
import { type FtpCredentials, type FtpOptions, ftpAddress, ftpLocation } from './ftp-options.ts';
import { FtpPool } from './ftp-pool.ts';

/**
 * A repository in a folder at an FTP server, in restic's layout.
 *
 * An object is sent to a temporary name beside its place, checked by its size or by reading it back, and renamed when nothing has its name
 * (an exclusive put is checked, not atomic: FTP has no rename that never replaces). Whether its bytes are on the disk when the server
 * says that a rename is done is the server's word: FTP has no command that asks for it.
 */

/** An abort that comes while a rename is under way waits for it; a server that does not answer is waited for no longer. */
const lateAbortMs = 700;
/** What close() gives to puts that were aborted, to remove what they sent. */
const cleanUpMs = 3_000;
/** Where dates are by the clock of a server whose zone is not known, a temporary file must look older by this to be swept. */
const unknownZoneMs = 24 * 60 * 60 * 1000;
/** Sessions that one listing takes at once; the calls for what it lists want some too. */
const maxReadCount = 6;

/** Opens a folder at a server as a storage. Nothing is asked of the server yet: the first call does, and fails with what is wrong. */
export async function openFtpStorage(
  options: FtpOptions,
  credentials: FtpCredentials,
  settings: AdapterSettings,
): Promise<Storage & SweepableStorage> {
  return new FtpStorage(options, credentials, settings);
}

interface PutState {
  isCommitted: boolean;
}

class FtpStorage implements Storage, SweepableStorage {
  readonly location: string;
  readonly #pool: FtpPool;
  readonly #readsBack: boolean;
  readonly #readCount: number;
  /** Puts whose caller may have gone after an abort, and removals of what broken sessions left. */
  readonly #unsettled = new Set<Promise<unknown>>();

  constructor(options: FtpOptions, { password }: FtpCredentials, { idleTimeoutMs, maxConnections }: AdapterSettings) {
    const { user, path, tls = 'explicit', caCertificate, verifyUploads = tls === 'none' ? 'read_back' : 'size' } = options;
    this.location = ftpLocation(options);
    this.#readsBack = verifyUploads === 'read_back';
    this.#readCount = Math.min(maxConnections, maxReadCount);
    const server = { ...ftpAddress(options), user, password, path, tls, caCertificate, idleTimeoutMs };
    const open = (signal?: AbortSignal): Promise<FtpConnection> => openFtpConnection(server, signal);
    this.#pool = new FtpPool({ maxConnections, open, location: this.location });
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    signal?.throwIfAborted();
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    const state: PutState = { isCommitted: false };
    const work = this.#translated(name, signal, () => this.#write(name, parts, signal, state));
    this.#settleLater(work);
    const { promise: late, reject: giveUp } = Promise.withResolvers<never>();
    const onAbort = (): void => void setTimeout(() => giveUp(signal?.reason), lateAbortMs).unref();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([untilAborted(work, signal, () => state.isCommitted), late]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async get(name: string, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    return this.#call(name, signal, (connection) => readObject({ connection, name, location: this.location }, range));
  }

  async stat(name: string, { signal }: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    return this.#call(name, signal, (connection) => statObject({ connection, name, location: this.location }));
  }

  async *list(prefix: string, { signal }: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    const read = (folder: string) =>
      this.#call(folder === '' ? 'the repository folder' : folder, signal, (connection) =>
        entriesOf(connection, connection.pathOf(folder)),
      );
    for await (const { name, entry } of walkFiles(prefix, { read, readCount: this.#readCount }, isObjectName)) {
      signal?.throwIfAborted();
      yield { name, sizeBytes: entry.sizeBytes, modifiedAt: entry.modifiedAt };
    }
    signal?.throwIfAborted();
  }

  async delete(name: string, { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    await this.#call(name, signal, (connection) => deleteObject({ connection, name, location: this.location }));
  }

  async sweep(olderThan: Date, { signal }: CallOptions = {}): Promise<number> {
    let sweptCount = 0;
    let marginMs = 0;
    const read = (folder: string) =>
      this.#call(folder === '' ? 'the repository folder' : folder, signal, async (connection) => {
        marginMs = connection.hasFacts ? 0 : unknownZoneMs;
        return entriesOf(connection, connection.pathOf(folder), { withHidden: true });
      });
    for await (const { name, entry } of walkFiles('', { read, readCount: this.#readCount }, isTemporaryName)) {
      if (entry.modifiedAt.getTime() + marginMs >= olderThan.getTime()) continue;
      await this.#call(name, signal, (connection) => deleteObject({ connection, name, location: this.location }));
      sweptCount += 1;
    }
    return sweptCount;
  }

  async close(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#unsettled), sleep(cleanUpMs, undefined, { ref: false })]);
    this.#pool.close();
  }

  async #write(name: string, parts: readonly Uint8Array[], signal: AbortSignal | undefined, state: PutState): Promise<void> {
    // An abort does not end the session: what was sent is removed on the same one, after all that the server was told before.
    const write = async (connection: FtpConnection): Promise<void> => {
      const object = { connection, name, location: this.location };
      const temporary = temporaryPathOf(object, randomUUID());
      let isRenamed = false;
      try {
        await writeTemporary(object, { parts, temporary, readsBack: this.#readsBack, signal });
        await renameToObject(object, temporary, () => {
          signal?.throwIfAborted();
          // From here on the object may be seen, so an abort comes too late.
          state.isCommitted = true;
        });
        isRenamed = true;
      } finally {
        if (!isRenamed) await this.#removeTemporary(connection, temporary);
      }
    };
    await this.#pool.use(signal, (connection) => connection.guard(() => write(connection)));
  }

  /** On the same session, else behind the caller's back on another one. What neither can remove, a sweep does. */
  async #removeTemporary(connection: FtpConnection, temporary: string): Promise<void> {
    const remove = async (by: FtpConnection): Promise<void> => {
      try {
        await by.send(`DELE ${temporary}`);
      } catch (error) {
        // Not there, because its upload was refused; or not to be removed, which the put's own error says more of.
        if (!(error instanceof FTPError)) throw error;
      }
    };
    try {
      if (connection.isOpen) return await remove(connection);
    } catch {
      // The session broke just now.
    }
    this.#settleLater(this.#pool.use(undefined, (other) => other.guard(() => remove(other))));
  }

  async #call<T>(what: string, signal: AbortSignal | undefined, work: (connection: FtpConnection) => Promise<T>): Promise<T> {
    return this.#translated(what, signal, () => this.#pool.use(signal, (connection) => connection.guard(() => work(connection), signal)));
  }

  async #translated<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      throw ftpError(error, what, this.location);
    }
  }

  #settleLater(work: Promise<unknown>): void {
    this.#unsettled.add(work);
    const forget = (): boolean => this.#unsettled.delete(work);
    work.then(forget, forget);
  }
}
