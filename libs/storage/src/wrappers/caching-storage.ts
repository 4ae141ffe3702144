import type { CachePlace } from '../cache/disk-cache.ts';
import { keptPath, nameOfKept, packFolder, type KeptFolder } from '../cache/kept-file.ts';
import { type HoldingStorage, isHolding } from '../hold.ts';
import { assertObjectName } from '../object-name.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StoredObject } from '../storage.ts';
import { isSweepable, type SweepableStorage } from '../sweep.ts';

/**
 * Keeps on this machine's disk what repeats: index files, snapshots, and the ranges of packs for which the caller says so (trees). Their
 * names are hashes, so what is in them never changes; whether they are there is for the storage to say. So an index file or a snapshot
 * comes from the disk only after this storage has listed it or put it. One that another program removes since then may still be read here,
 * as one that was read just before it went.
 *
 * What listings no longer show, and what is deleted here, is dropped from the disk.
 */
export interface CachingOptions {
  readonly place: CachePlace;
  /**
   * False for whoever is to find out whether what the storage has is whole, or is about to remove what nobody names: every read is the
   * storage's. What is put, deleted and listed is heeded all the same.
   */
  readonly reads: boolean;
}

/** For a storage at a server: one that threads use by themselves goes by the cache. */
export function openCachingStorage(inner: Storage, options: CachingOptions): Storage {
  return new CachingStorage(inner, options);
}

/** Folders whose objects are kept whole, so that each is listed by name. */
const folderOfPrefix: ReadonlyMap<string, KeptFolder> = new Map([
  ['index/', 'index'],
  ['snapshots/', 'snapshots'],
  ['data/', 'data'],
]);

class CachingStorage implements Storage {
  readonly sweep?: SweepableStorage['sweep'];
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #inner: Storage;
  readonly #place: CachePlace;
  readonly #reads: boolean;
  /** Index files and snapshots that are there, by the last listing and what was put since. */
  readonly #there: Record<Exclude<KeptFolder, 'data'>, Set<string>> = { index: new Set(), snapshots: new Set() };

  constructor(inner: Storage, { place, reads }: CachingOptions) {
    this.#inner = inner;
    if (isSweepable(inner)) this.sweep = (olderThan, options) => inner.sweep(olderThan, options);
    if (isHolding(inner)) {
      this.holdOf = (name, options) => inner.holdOf(name, options);
      if (inner.renewHold !== undefined) this.renewHold = inner.renewHold;
    }
    this.#place = place;
    this.#reads = reads;
  }

  get location(): string {
    return this.#inner.location;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void> {
    await this.#inner.put(name, bytes, options);
    const path = keptPath(name);
    if (path === null) return;
    this.#thereOf(name)?.add(name);
    await this.#place.put(path, bytes instanceof Uint8Array ? bytes : Buffer.concat(bytes));
  }

  async get(name: string, options: GetOptions = {}): Promise<Uint8Array> {
    assertObjectName(name);
    const path = this.#reads ? this.#pathOf(name, options) : null;
    if (path === null) return await this.#inner.get(name, options);
    options.signal?.throwIfAborted();
    if (options.keep === 'anew') {
      await this.#place.remove(path);
      return await this.#inner.get(name, options);
    }
    const isThere = options.range !== undefined || this.#thereOf(name)?.has(name) === true;
    const kept = isThere ? await this.#place.get(path) : null;
    options.signal?.throwIfAborted();
    if (kept !== null) return kept;
    const bytes = await this.#inner.get(name, options);
    await this.#place.put(path, bytes);
    return bytes;
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return await this.#inner.stat(name, options);
  }

  async *list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    const folder = folderOfPrefix.get(prefix);
    if (folder === undefined) {
      yield* this.#inner.list(prefix, options);
      return;
    }
    // Read before the storage lists: what is put meanwhile is not among them.
    const gone = new Map((await this.#place.list(folder)).map((entry) => [nameOfKept(folder, entry), `${folder}/${entry}`]));
    const listed = new Set<string>();
    for await (const object of this.#inner.list(prefix, options)) {
      gone.delete(object.name);
      if (folder !== 'data') {
        listed.add(object.name);
        this.#there[folder].add(object.name);
      }
      yield object;
    }
    if (folder !== 'data') this.#there[folder] = listed;
    for (const path of gone.values()) await this.#place.remove(path);
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.#inner.delete(name, options);
    this.#thereOf(name)?.delete(name);
    const path = packFolder(name) ?? keptPath(name);
    if (path !== null) await this.#place.remove(path);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  /** Null for what is read from the storage in every case. */
  #pathOf(name: string, { range, keep }: GetOptions): string | null {
    return range === undefined || keep !== undefined ? keptPath(name, range) : null;
  }

  #thereOf(name: string): Set<string> | undefined {
    if (name.startsWith('index/')) return this.#there.index;
    return name.startsWith('snapshots/') ? this.#there.snapshots : undefined;
  }
}
