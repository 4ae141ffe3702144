import { posix } from 'node:path';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Stats } from 'ssh2';
import { temporaryPrefix } from '../local/local-listing.ts';
import { assertListPrefix, assertObjectName, isObjectName } from '../object-name.ts';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import type { CallOptions, GetOptions, Storage, StoredObject } from '../storage.ts';
import type { SweepableStorage } from '../sweep.ts';
import { untilAborted } from '../until-aborted.ts';
import { readExactly } from './sftp-bytes.ts';
import { sftpError, sftpStatus, statusOf } from './sftp-error.ts';
import { readContents, storedObject, withFolderSynced } from './sftp-folders.ts';
import { openSftpSession, sftpLogin } from './sftp-login.ts';
import { sftpLocation, type SftpCredentials, type SftpOptions } from './sftp-options.ts';
import { putObject } from './sftp-put.ts';
import type { SftpSession } from './sftp-session.ts';
import { SftpSessionPool } from './sftp-session-pool.ts';

/** Folders that are read at once, far from the hundred files that old servers let a session have open. */
const foldersAtOnce = 32;
/** How long an abort waits for a put that may be seen already; storage.ts promises a second for all of it. */
const commitGraceMs = 700;

/**
 * A repository in a folder at an SSH server, in restic's layout, so that stock restic opens the folder as it is. The folders appear with
 * their first object. Folders may be symlinks, objects not. No connection is made before the first call.
 * Error: storage_denied for a private key that cannot be used.
 */
export async function openSftpStorage(
  options: SftpOptions,
  credentials: SftpCredentials,
  settings: AdapterSettings,
): Promise<Storage & SweepableStorage> {
  const login = sftpLogin(options, credentials);
  const pool = new SftpSessionPool(() => openSftpSession(login, settings.idleTimeoutMs), settings.maxConnections);
  return new SftpStorage(sftpLocation(options), posix.normalize(options.path), pool);
}

class SftpStorage implements Storage, SweepableStorage {
  readonly location: string;
  readonly #path: string;
  readonly #pool: SftpSessionPool;

  constructor(location: string, path: string, pool: SftpSessionPool) {
    this.location = location;
    this.#path = path;
    this.#pool = pool;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    let isCommitted = false;
    const onCommit = (): void => void (isCommitted = true);
    const put = { root: this.#path, place: this.#pathOf(name), parts, signal, onCommit };
    const work = this.#run(name, signal, (session) => putObject(session, put)).catch((error: unknown) => {
      throw missingIsNoAnswer(error);
    });
    await untilAbortedPatiently(work, signal, () => isCommitted);
  }

  async get(name: string, options: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    return this.#call(name, options.signal, (session) => this.#read(session, name, options));
  }

  async stat(name: string, { signal }: CallOptions = {}): Promise<StoredObject> {
    assertObjectName(name);
    return this.#call(name, signal, async (session) => storedObject(name, fileOf(await session.lstat(this.#pathOf(name)))));
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    yield* this.#walk(prefix, isObjectName, options);
  }

  async delete(name: string, { signal }: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    await this.#call(name, signal, (session) => removeDurably(session, this.#pathOf(name)));
  }

  async sweep(olderThan: Date, options: CallOptions = {}): Promise<number> {
    let sweptCount = 0;
    for await (const { name, modifiedAt } of this.#walk('', isTemporaryName, options)) {
      if (modifiedAt >= olderThan) continue;
      await this.#call(name, options.signal, (session) => removeDurably(session, this.#pathOf(name)));
      sweptCount += 1;
    }
    return sweptCount;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #read(session: SftpSession, name: string, { range, into, signal }: GetOptions): Promise<Uint8Array> {
    const place = this.#pathOf(name);
    // Both are on their way at once, the one that may hang behind the other.
    const looking = session.lstat(place);
    const opening = session.openToRead(place);
    const closing = opening.then(
      (handle) => () => session.closeLater(handle),
      () => () => undefined,
    );
    try {
      const found = await looking;
      // The server hangs where it opens a fifo: this session is of no more use.
      if (!found.isFile()) session.end();
      const { size } = fileOf(found);
      const handle = await opening;
      const { offsetBytes, lengthBytes } = range ?? { offsetBytes: 0, lengthBytes: size };
      const isThere = size >= offsetBytes + lengthBytes;
      const bytes = isThere ? await readExactly(session, handle, { offsetBytes, lengthBytes, into, signal }) : undefined;
      if (bytes !== undefined) return bytes;
      const context = { sizeBytes: size, offsetBytes, lengthBytes };
      throw new HoldfastError('storage_object_too_short', 'it ends before the bytes asked for', { context });
    } finally {
      void closing.then((close) => close());
    }
  }

  /** Files below `prefix` that `accept` takes. No session is held while the caller has a page in hand: it may need one for what it does. */
  async *#walk(prefix: string, accept: (name: string) => boolean, { signal }: CallOptions): AsyncIterable<StoredObject> {
    const what = prefix === '' ? 'the repository folder' : prefix;
    const waiting = [prefix];
    while (waiting.length > 0) {
      const batch = waiting.splice(0, foldersAtOnce);
      const contents = await this.#call(what, signal, (session) =>
        Promise.all(batch.map((folder) => readContents(session, this.#path, folder, accept))),
      );
      for (const { files, folders } of contents) {
        waiting.push(...folders);
        for (const file of files) {
          signal?.throwIfAborted();
          yield file;
        }
      }
    }
    signal?.throwIfAborted();
  }

  #call<T>(what: string, signal: AbortSignal | undefined, work: (session: SftpSession) => Promise<T>): Promise<T> {
    return untilAborted(this.#run(what, signal, work), signal);
  }

  async #run<T>(what: string, signal: AbortSignal | undefined, work: (session: SftpSession) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await this.#pool.run(work, signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw sftpError(error, what, this.location);
    }
  }

  #pathOf(name: string): string {
    return posix.join(this.#path, name);
  }
}

async function removeDurably(session: SftpSession, place: string): Promise<void> {
  await withFolderSynced(session, posix.dirname(place), async () => {
    try {
      await session.remove(place);
    } catch (error) {
      if (statusOf(error) !== sftpStatus.noSuchFile) throw error;
    }
  });
}

function fileOf(found: Stats): Stats {
  if (!found.isFile()) throw new HoldfastError('storage_denied', 'it is no regular file');
  return found;
}

function isTemporaryName(name: string): boolean {
  return posix.basename(name).startsWith(temporaryPrefix);
}

/** A put has no object that could be missing: its folder or its temporary file went while it ran, and the next try makes them anew. */
function missingIsNoAnswer(error: unknown): unknown {
  if (!isHoldfastError(error, 'storage_object_missing')) return error;
  return new HoldfastError('storage_unreachable', error.message, { context: error.context, cause: error.cause });
}

/** As untilAborted; but once an abort comes too late it only waits so long for the work's own result. */
async function untilAbortedPatiently<T>(work: Promise<T>, signal: AbortSignal | undefined, isCommitted: () => boolean): Promise<T> {
  if (signal === undefined) return work;
  const patient = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (isCommitted()) timer = setTimeout(() => patient.abort(signal.reason), commitGraceMs);
    else patient.abort(signal.reason);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await untilAborted(work, patient.signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}
