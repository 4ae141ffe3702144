import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { LockOptions } from '../lock.ts';
import type { Repository } from '../repository.ts';
import type { ThreadOptions } from '../threads/borrowed-pool.ts';
import type { BrowsedEntry } from './browsed-entry.ts';
import { CurrentIndex } from './current-index.ts';
import type { ByteRange } from './file-content.ts';
import { FileReader } from './file-reader.ts';
import { folderPage, type FolderPage, type PageRequest } from './folder-page.ts';
import { NameIndex } from './name-index.ts';
import { ReadLease } from './read-lease.ts';
import { ReadThreads } from './read-threads.ts';
import type { SearchQuery } from './search-query.ts';
import { SnapshotDiffs, type DiffOptions, type SnapshotDiff } from './snapshot-diff.ts';
import { searchHistory, searchSnapshot, type FoundEntry, type HistoryPage, type SearchPage } from './snapshot-search.ts';
import { SnapshotTops } from './snapshot-tops.ts';
import { SnapshotTrees } from './snapshot-trees.ts';
import { walkSnapshot, type WalkedEntry, type WalkSelection } from './snapshot-walk.ts';
import { TreeStore } from './tree-store.ts';

/**
 * Looks into the snapshots of one repository, without a recovery. Safe for many calls at once: they share what is in memory.
 *
 * Paths are absolute, in the snapshot; whatever a snapshot holds, no path leads out of it. Looking takes no lock: a tree is there whole, or not,
 * and when a cleanup has moved it, the index is read anew. `read` and `walk` share a lock that holds cleanups off while they run.
 *
 * Every call: snapshot_missing, repository_damaged (a tree is not there or not whole), those of the storage; request_invalid names the field in
 * `context.field`. A signal that is aborted ends the call with its reason.
 */
export interface SnapshotBrowser extends AsyncDisposable {
  /** A page of a folder, in the order of the bytes of the names. Codes: path_not_found (also for what is no folder), request_invalid. */
  folder(snapshotId: ObjectId, path: string, page: PageRequest, signal: AbortSignal): Promise<FolderPage>;
  /** Codes: path_not_found, request_invalid. */
  entry(snapshotId: ObjectId, path: string, signal: AbortSignal): Promise<BrowsedEntry>;
  /** A page of what has a name or a pattern in one snapshot. Codes: path_not_found for `below`, request_invalid. */
  search(snapshotId: ObjectId, query: SearchQuery, signal: AbortSignal): Promise<SearchPage<FoundEntry>>;
  /** The same over time: each path with what has been there. `snapshots` are oldest first; those that are gone are named. Codes: request_invalid. */
  searchAll(snapshots: readonly ObjectId[], query: SearchQuery, signal: AbortSignal): Promise<HistoryPage>;
  /** A page of what differs, and the totals of it all. Folders that are the same are not read. Codes: path_not_found, request_invalid. */
  diff(beforeId: ObjectId, afterId: ObjectId, options: DiffOptions, signal: AbortSignal): Promise<SnapshotDiff>;
  /**
   * The bytes of a file, or a range of them, in pieces of up to 8 MiB that are the caller's to keep; each is checked against its hash before.
   * Codes: path_not_found (also for what is no file), request_invalid (a range that begins behind the end), repository_locked.
   */
  read(snapshotId: ObjectId, path: string, range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** What is selected, depth first, each folder before what is in it: for an archive. Codes: path_not_found, request_invalid, repository_locked. */
  walk(snapshotId: ObjectId, select: WalkSelection, signal: AbortSignal): AsyncIterable<WalkedEntry>;
}

/** Memory that is held from call to call, for each repository. Half as much again may be in use during a call. */
export interface BrowserLimits {
  /** Trees as text, 350 bytes an entry: some 200,000 entries, so that pages of large folders are not read again. */
  readonly maxTreeBytes: number;
  /** Of packs, where trees lie side by side. */
  readonly maxWindowBytes: number;
  /** Names in trees that were searched, 41 bytes an entry and 30 a name: some 2 million entries. */
  readonly maxNameBytes: number;
  /** A page of a search ends when it has taken so long; what is left is for the next one. Below what clients and proxies wait for. */
  readonly searchPageMs: number;
}

const mebibyte = 1024 * 1024;

export const defaultBrowserLimits: BrowserLimits = {
  maxTreeBytes: 64 * mebibyte,
  maxWindowBytes: 32 * mebibyte,
  maxNameBytes: 128 * mebibyte,
  searchPageMs: 10_000,
};

/** Threads of its own start with a large file that is read, and end some seconds after the last one. */
export interface BrowserOptions extends Omit<LockOptions, 'signal'>, ThreadOptions {
  /** Stays the caller's to close, after the browser. */
  readonly repository: Repository;
  readonly limits?: Partial<BrowserLimits>;
}

/** Reads nothing yet. To be disposed of: reads that run end then. */
export function openSnapshotBrowser(options: BrowserOptions): SnapshotBrowser {
  return new Browser(options);
}

class Browser implements SnapshotBrowser {
  readonly #closed = new AbortController();
  readonly #lease: ReadLease;
  readonly #snapshots: SnapshotTrees;
  readonly #names: NameIndex;
  readonly #diffs: SnapshotDiffs;
  readonly #reader: FileReader;
  readonly #limits: BrowserLimits;
  readonly #threads: ReadThreads;

  constructor(options: BrowserOptions) {
    const { repository, limits = {} } = options;
    this.#limits = { ...defaultBrowserLimits, ...limits };
    const { maxTreeBytes, maxWindowBytes, maxNameBytes } = this.#limits;
    const closed = this.#closed.signal;
    const index = new CurrentIndex(repository, closed);
    const trees = new TreeStore({ repository, index, closed, maxListingBytes: maxTreeBytes, maxWindowBytes });
    this.#snapshots = new SnapshotTrees(new SnapshotTops(repository, closed), trees);
    this.#names = new NameIndex(trees, maxNameBytes);
    this.#diffs = new SnapshotDiffs(this.#snapshots);
    this.#lease = new ReadLease(repository, options, closed);
    this.#threads = new ReadThreads({ repository, threadOptions: options, closed });
    this.#reader = new FileReader({ repository, index, snapshots: this.#snapshots, lease: this.#lease, threads: this.#threads });
  }

  async folder(snapshotId: ObjectId, path: string, page: PageRequest, signal: AbortSignal): Promise<FolderPage> {
    return await folderPage(this.#snapshots, snapshotId, path, page, signal);
  }

  async entry(snapshotId: ObjectId, path: string, signal: AbortSignal): Promise<BrowsedEntry> {
    return await this.#snapshots.entry(snapshotId, path, signal);
  }

  async search(snapshotId: ObjectId, query: SearchQuery, signal: AbortSignal): Promise<SearchPage<FoundEntry>> {
    return await searchSnapshot(this.#searchTools, snapshotId, query, signal);
  }

  async searchAll(snapshots: readonly ObjectId[], query: SearchQuery, signal: AbortSignal): Promise<HistoryPage> {
    return await searchHistory(this.#searchTools, snapshots, query, signal);
  }

  async diff(beforeId: ObjectId, afterId: ObjectId, options: DiffOptions, signal: AbortSignal): Promise<SnapshotDiff> {
    return await this.#diffs.diff(beforeId, afterId, options, signal);
  }

  read(snapshotId: ObjectId, path: string, range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#reader.read(snapshotId, path, range, signal);
  }

  async *walk(snapshotId: ObjectId, select: WalkSelection, signal: AbortSignal): AsyncGenerator<WalkedEntry, void, undefined> {
    using part = await this.#lease.acquire(signal);
    yield* walkSnapshot(this.#snapshots, snapshotId, select, part.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new HoldfastError('internal', 'the browser of this repository was closed'));
    await this.#threads[Symbol.asyncDispose]();
    await this.#lease[Symbol.asyncDispose]();
  }

  get #searchTools() {
    return { snapshots: this.#snapshots, names: this.#names, budgetMs: this.#limits.searchPageMs };
  }
}
