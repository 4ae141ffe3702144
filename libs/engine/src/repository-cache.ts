import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { equalMasterKeys } from '@holdfast/restic-format/key-file';
import { configName } from '@holdfast/restic-format/layout';
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createIndexMirror, type IndexMirror, type IndexMirrorCounts } from './index-mirror.ts';
import { createKnownSnapshots, type KnownSnapshots } from './known-snapshots.ts';
import { makeRepository, unlockRepository, withSignal } from './repository.ts';
import type { OpenRepositoryOptions, Repository, UnlockedRepository } from './repository.ts';

/**
 * What a process keeps of the repositories that it opened, so that opening one again costs no key derivation and no reading of its
 * whole index. Kept are values, by location: master keys, blob index, snapshots; never a password, and no connection.
 */
export interface RepositoryCache extends Disposable {
  /**
   * As openRepository. What is kept is used when the password is the one that it was opened with, its key file is still there and
   * the config has not changed. With `keysOnly` the repository reads index and snapshots afresh each time: for whoever is to find
   * out whether they are whole, or to remove what they do not name.
   */
  open(options: CachedOpenOptions): Promise<Repository>;
  /** Forgets everything of a location; repositories that are open go on. */
  evict(location: string): void;
  /** For metrics. */
  counts(): RepositoryCacheCounts;
  /** Forgets everything. */
  close(): void;
}

export interface CachedOpenOptions extends OpenRepositoryOptions {
  readonly keysOnly?: boolean;
}

export interface RepositoryCacheCounts extends IndexMirrorCounts {
  /** Opened with keys that were kept, and with a key derivation. */
  readonly warmOpens: number;
  readonly coldOpens: number;
  /** Forgotten to make room, or because something was wrong. */
  readonly evictions: number;
  readonly repositories: number;
  readonly heldBytes: number;
}

export interface RepositoryCacheOptions {
  readonly maxRepositories?: number;
  readonly maxHeldBytes?: number;
}

/** Each with its keys and, as long as there is room, its index: 10 KB for a small one. */
export const defaultMaxRepositories = 10_000;
/** Indexes and snapshots of all: room for four million blobs. More than this is held only while it is in use. */
export const defaultMaxHeldBytes = 256 * 1024 * 1024;

export function openRepositoryCache(options: RepositoryCacheOptions = {}): RepositoryCache {
  return new LocationCache(options);
}

interface CacheEntry {
  readonly unlocked: UnlockedRepository;
  readonly passwordHash: Uint8Array;
  /** Absent until it is wanted, and after it had to go. */
  warm: WarmState | undefined;
  /** Of `warm`, when it was last looked at. */
  heldBytes: number;
  openCount: number;
}

interface WarmState {
  readonly indexMirror: IndexMirror;
  readonly knownSnapshots: KnownSnapshots;
}

class LocationCache implements RepositoryCache {
  readonly #maxRepositories: number;
  readonly #maxHeldBytes: number;
  /** Passwords are compared by hashes under it; it never leaves the process, so they are of no use elsewhere. */
  readonly #hashKey = randomBytes(32);
  /** Least recently used first. */
  readonly #entries = new Map<string, CacheEntry>();
  readonly #opens = { warmOpens: 0, coldOpens: 0, evictions: 0 };
  readonly #indexCounts: IndexMirrorCounts = { filesRead: 0, filesKnown: 0, resets: 0 };
  #heldBytes = 0;

  constructor({ maxRepositories = defaultMaxRepositories, maxHeldBytes = defaultMaxHeldBytes }: RepositoryCacheOptions) {
    this.#maxRepositories = maxRepositories;
    this.#maxHeldBytes = maxHeldBytes;
  }

  async open(options: CachedOpenOptions): Promise<Repository> {
    const { location } = options.storage;
    const passwordHash = createHmac('sha256', this.#hashKey).update(options.password).digest();
    const found = this.#entries.get(location);
    const isWarm = found !== undefined && timingSafeEqual(found.passwordHash, passwordHash) && (await isCurrent(found.unlocked, options));
    if (isWarm) {
      this.#opens.warmOpens++;
      // Last in the map: the most recently used. Unless it was evicted meanwhile.
      if (this.#entries.get(location) === found) this.#put(location, found);
      return this.#lend(found, options);
    }
    // With a wrong password this throws, and what is kept stays.
    const unlocked = await unlockRepository(options);
    this.#opens.coldOpens++;
    const known = this.#entries.get(location);
    const warm = known !== undefined && isSameRepository(known.unlocked, unlocked) ? known.warm : undefined;
    const entry: CacheEntry = { unlocked, passwordHash, warm, heldBytes: 0, openCount: 0 };
    this.#put(location, entry);
    return this.#lend(entry, options);
  }

  evict(location: string): void {
    if (this.#drop(location)) this.#opens.evictions++;
  }

  counts(): RepositoryCacheCounts {
    return { ...this.#opens, ...this.#indexCounts, repositories: this.#entries.size, heldBytes: this.#heldBytes };
  }

  close(): void {
    this.#entries.clear();
    this.#heldBytes = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #lend(entry: CacheEntry, { storage, keysOnly = false }: CachedOpenOptions): Repository {
    const { masterKeys, config, keyName } = entry.unlocked;
    const repository = makeRepository(storage, masterKeys, config, keyName);
    if (keysOnly) return repository;
    entry.warm ??= { indexMirror: createIndexMirror(this.#indexCounts), knownSnapshots: createKnownSnapshots() };
    entry.openCount++;
    let isOpen = true;
    const close = async (): Promise<void> => {
      if (isOpen) this.#takeBack(entry, storage.location);
      isOpen = false;
      await repository.close();
    };
    return { ...repository, ...entry.warm, close, [Symbol.asyncDispose]: close };
  }

  #takeBack(entry: CacheEntry, location: string): void {
    entry.openCount--;
    if (this.#entries.get(location) !== entry) return;
    this.#measure(entry);
    this.#makeRoom();
  }

  /** Indexes go first, from the least recently used on, then keys. What is in use would stay in memory anyway. */
  #makeRoom(): void {
    for (const entry of this.#entries.values()) {
      if (this.#heldBytes <= this.#maxHeldBytes) break;
      if (entry.openCount > 0 || entry.warm === undefined) continue;
      entry.warm = undefined;
      this.#measure(entry);
      this.#opens.evictions++;
    }
    for (const location of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxRepositories) break;
      this.evict(location);
    }
  }

  #put(location: string, entry: CacheEntry): void {
    this.#drop(location);
    this.#entries.set(location, entry);
    this.#measure(entry);
    this.#makeRoom();
  }

  #drop(location: string): boolean {
    const entry = this.#entries.get(location);
    if (entry === undefined) return false;
    this.#heldBytes -= entry.heldBytes;
    entry.heldBytes = 0;
    return this.#entries.delete(location);
  }

  #measure(entry: CacheEntry): void {
    this.#heldBytes -= entry.heldBytes;
    entry.heldBytes = (entry.warm?.indexMirror.heldBytes ?? 0) + (entry.warm?.knownSnapshots.heldBytes ?? 0);
    this.#heldBytes += entry.heldBytes;
  }
}

/** Whether the key file is still there and the config is the one that it opened. A key that was removed must not go on opening. */
async function isCurrent({ keyName, sealedConfig }: UnlockedRepository, { storage, signal }: CachedOpenOptions): Promise<boolean> {
  try {
    const [config] = await Promise.all([storage.get(configName, withSignal(signal)), storage.stat(keyName, withSignal(signal))]);
    return Buffer.compare(config, sealedConfig) === 0;
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_missing')) throw error;
    return false;
  }
}

function isSameRepository(a: UnlockedRepository, b: UnlockedRepository): boolean {
  return a.config.id === b.config.id && equalMasterKeys(a.masterKeys, b.masterKeys);
}
