import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { readExactly, writeFully } from '../local/local-bytes.ts';
import { isObjectId, openKept, sealKept, type KeptFolder } from './kept-file.ts';
import { diskBytesOf, entriesOf, scanCache, temporaryFolder, type CacheFile } from './scan-cache.ts';

/**
 * A folder on this machine that keeps what was read from storages at servers, by repository and path (kept-file.ts), within a number of
 * bytes: what was not used for longest goes first. Several processes may have the same folder. It may be emptied at any time, and a
 * process may be killed at any time: a file gets its name when it is whole, and is checked whenever it is read.
 *
 * It fails nobody: a disk that is full, read-only or broken makes it keep less and answer less.
 */
export interface DiskCache {
  /** What is kept of one repository. `key` is never seen on the disk. */
  place(key: string): CachePlace;
  counts(): DiskCacheCounts;
}

export interface CachePlace {
  /** Null when it is not there, or not whole: it is removed then. The caller owns the array. */
  get(path: string): Promise<Uint8Array | null>;
  /** Keeps nothing when the bytes are not what the object's name says. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  /** A file, or all ranges of a pack: `data/<pack id>`. */
  remove(path: string): Promise<void>;
  /** The names in a kept folder: of objects, or of packs. */
  list(folder: KeptFolder): Promise<string[]>;
}

/** For metrics, since this process began. */
export interface DiskCacheCounts {
  hits: number;
  misses: number;
  hitBytes: number;
  writtenBytes: number;
  /** Files that went to make room. */
  evictions: number;
  /** Files that were not what they should be. */
  damaged: number;
  /** Reads and writes that the disk refused. */
  failures: number;
  /** Of all processes, as far as this one knows. */
  heldBytes: number;
}

export interface DiskCacheOptions {
  readonly folder: string;
  readonly maxBytes: number;
  /** Told the first time that the disk refuses something, by kind of error. */
  readonly onTrouble?: (error: unknown) => void;
  readonly now?: () => Date;
}

/** Room is made down to this share, so that not every file has to look for some. */
const keptShare = 7 / 8;
/** After having written so much it is looked at again what others have: several processes go over the limit by no more than this, each. */
const lookAfterShare = 1 / 16;
/** One file must not push out most of what others need. */
const maxFileShare = 1 / 4;
/** Larger ones are no trees and no index files as they are written today. */
const maxFileBytes = 64 * 1024 * 1024;
/** A file that is written for longer was left by a process that died. */
const temporaryKeptMs = 60 * 60 * 1000;
/** How long nothing is written after a disk refused it. */
const pauseMs = 60_000;
const folderMode = 0o700;
const fileMode = 0o600;

/** Touches the disk only when it is used. */
export function openDiskCache(options: DiskCacheOptions): DiskCache {
  return new FolderCache(options);
}

class FolderCache implements DiskCache {
  readonly #options: DiskCacheOptions;
  readonly #maxFileBytes: number;
  readonly #now: () => Date;
  readonly #counts = { hits: 0, misses: 0, hitBytes: 0, writtenBytes: 0, evictions: 0, damaged: 0, failures: 0 };
  readonly #troubles = new Set<string>();
  /** On their way to the disk, and counted as held already. */
  readonly #writes = new Set<Promise<void>>();
  #pausedUntilMs = 0;
  /** Undefined until the folder was looked at. */
  #heldBytes: number | undefined;
  /** Written since then. */
  #unseenBytes = 0;
  /** Room is made for one file after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: DiskCacheOptions) {
    this.#options = options;
    this.#maxFileBytes = Math.min(maxFileBytes, Math.floor(options.maxBytes * maxFileShare));
    this.#now = options.now ?? (() => new Date());
  }

  place(key: string): CachePlace {
    // Keys tell of users, hosts and folders; names on a disk need not.
    const folder = join(this.#options.folder, createHash('sha256').update(key).digest('hex').slice(0, 32));
    return {
      get: (path) => this.#get(folder, path),
      put: (path, bytes) => this.#put(folder, path, bytes),
      remove: (path) => this.#tried(() => rm(join(folder, path), { recursive: true, force: true }), undefined),
      list: (kept) => this.#tried(async () => (await entriesOf(join(folder, kept))).filter(isObjectId), []),
    };
  }

  counts(): DiskCacheCounts {
    return { ...this.#counts, heldBytes: this.#heldBytes ?? 0 };
  }

  async #get(folder: string, path: string): Promise<Uint8Array | null> {
    const bytes = await this.#tried(() => this.#read(join(folder, path), path), null);
    if (bytes === null) this.#counts.misses++;
    else {
      this.#counts.hits++;
      this.#counts.hitBytes += bytes.byteLength;
    }
    return bytes;
  }

  async #read(file: string, path: string): Promise<Uint8Array | null> {
    const content = await readWhole(file, this.#maxFileBytes + digestRoomBytes, this.#now());
    if (content === null) return null;
    const bytes = content === 'unfit' ? null : openKept(path, content);
    if (bytes !== null) return bytes;
    this.#counts.damaged++;
    await rm(file, { recursive: true, force: true });
    return null;
  }

  async #put(folder: string, path: string, bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength > this.#maxFileBytes || this.#now().getTime() < this.#pausedUntilMs) return;
    const content = sealKept(path, bytes);
    if (content === null) return;
    const diskBytes = diskBytesOf(content.reduce((sum, part) => sum + part.byteLength, 0));
    const isWritten = await this.#tried(async () => {
      const begun = await this.#inTurn(() => this.#begin(join(folder, path), content, diskBytes));
      if (begun === null) return true;
      await begun.written;
      this.#counts.writtenBytes += bytes.byteLength;
      return true;
    }, false);
    if (!isWritten) this.#pausedUntilMs = this.#now().getTime() + pauseMs;
  }

  /** Begins to write when there is room, or can be made; null when there is none. */
  async #begin(file: string, content: readonly Uint8Array[], diskBytes: number): Promise<{ readonly written: Promise<void> } | null> {
    const { maxBytes, folder } = this.#options;
    const isLooked = this.#heldBytes !== undefined && this.#unseenBytes < maxBytes * lookAfterShare;
    if (!isLooked || (this.#heldBytes ?? 0) + diskBytes > maxBytes) {
      // What is on its way would be seen or not, as it happens.
      await Promise.allSettled(this.#writes);
      this.#heldBytes = await this.#evict(await scanCache(folder), maxBytes - diskBytes);
      this.#unseenBytes = 0;
    }
    if ((this.#heldBytes ?? 0) + diskBytes > maxBytes) return null;
    this.#heldBytes = (this.#heldBytes ?? 0) + diskBytes;
    this.#unseenBytes += diskBytes;
    const written = this.#write(file, content).catch((error: unknown) => {
      this.#heldBytes = (this.#heldBytes ?? 0) - diskBytes;
      throw error;
    });
    this.#writes.add(written);
    const forget = (): boolean => this.#writes.delete(written);
    written.then(forget, forget);
    return { written };
  }

  /** Not synced: what a power failure leaves of it is checked before it is used. */
  async #write(file: string, content: readonly Uint8Array[]): Promise<void> {
    const temporary = join(this.#options.folder, temporaryFolder, randomUUID());
    try {
      const handle = await this.#inFolder(temporary, () => open(temporary, 'wx', fileMode));
      try {
        await writeFully(handle, content);
        await handle.utimes(this.#now(), this.#now());
      } finally {
        await handle.close();
      }
      await this.#inFolder(file, () => rename(temporary, file));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Makes the folder of `path` when `work` finds none: the first time, and when somebody has emptied the cache. */
  async #inFolder<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT') throw error;
      // Only what is ours is closed to others: in the folder above there may be more.
      await mkdir(dirname(this.#options.folder), { recursive: true });
      await mkdir(dirname(path), { recursive: true, mode: folderMode });
      return await work();
    }
  }

  /** One after the other. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.then(
      () => undefined,
      () => undefined,
    );
    return await turn;
  }

  /** Removes what is left of dead processes and, when there is more than `roomBytes`, what was not used for longest; gives what stays. */
  async #evict(files: readonly CacheFile[], roomBytes: number): Promise<number> {
    const deadBeforeMs = this.#now().getTime() - temporaryKeptMs;
    const isDead = (file: CacheFile): boolean => file.isTemporary && file.usedAtMs < deadBeforeMs;
    for (const file of files.filter(isDead)) await removeFile(file.path);
    const living = files.filter((file) => !isDead(file));
    let held = living.reduce((sum, file) => sum + file.diskBytes, 0);
    if (held <= roomBytes) return held;
    const evictable = living.filter((file) => !file.isTemporary).toSorted((a, b) => a.usedAtMs - b.usedAtMs);
    for (const file of evictable) {
      if (held <= roomBytes * keptShare) break;
      await removeFile(file.path);
      held -= file.diskBytes;
      this.#counts.evictions++;
    }
    return held;
  }

  async #tried<T>(work: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const code = errnoCode(error);
      // Not the disk's word: a defect of ours.
      if (code === undefined) throw error;
      this.#counts.failures++;
      if (!this.#troubles.has(code)) this.#options.onTrouble?.(error);
      this.#troubles.add(code);
      return otherwise;
    }
  }
}

/** What stands before the bytes of a range. */
const digestRoomBytes = 32;

/** Null when there is no such file; `unfit` for what no cache has written. Notes that it was used. */
async function readWhole(file: string, maxBytes: number, now: Date): Promise<Uint8Array | 'unfit' | null> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { size } = await handle.stat();
      const content = size > maxBytes ? undefined : await readExactly(handle, 0, size);
      // A disk that is read-only goes on answering; only the order in which files go suffers.
      await handle.utimes(now, now).catch(() => undefined);
      return content ?? 'unfit';
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = errnoCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    if (code === 'EISDIR' || code === 'ELOOP') return 'unfit';
    throw error;
  }
}

/** And the folder of a pack, when it was its last. Another process may have done it already. */
async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
  }
  const folder = dirname(path);
  // Not empty, mostly.
  if (isObjectId(basename(folder))) await rmdir(folder).catch(() => undefined);
}
