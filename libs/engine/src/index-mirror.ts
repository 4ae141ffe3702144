import type { IndexedPack } from '@holdfast/restic-format/index-file';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { createBlobIndex, type BlobIndex } from './blob-index.ts';
import { listIndexFiles, loadIndexFiles } from './load-index.ts';
import type { Repository } from './repository.ts';
import { Slots } from './slots.ts';

/**
 * The index of one repository, kept from call to call and shared by calls that run at once. It holds what durable index files say
 * and nothing else: a blob that is only in a pack so far could be lost with the call that wrote it, and others must not build on it.
 */
export interface IndexMirror {
  /**
   * Brings it up to date and returns the index: new files are read; when one that was read has gone, everything is read anew. To be
   * called under a lock, and good as long as that is held: nobody removes packs meanwhile. The index grows by what other calls of
   * this process write. Errors: as loadIndex; what was read by then is kept.
   */
  refresh(repository: Repository, signal?: AbortSignal): Promise<BlobIndex>;
  /** Takes in an index file that this process has written. */
  note(id: ObjectId, packs: readonly IndexedPack[]): void;
  readonly heldBytes: number;
}

export interface IndexMirrorCounts {
  /** Files that were read, and those that did not have to be. */
  filesRead: number;
  filesKnown: number;
  /** How often everything was read anew. */
  resets: number;
}

/** A file's id as text, and its place in a set. */
const fileHeldBytes = 150;

/** `counts` are counted on; several mirrors may have the same. */
export function createIndexMirror(counts: IndexMirrorCounts = { filesRead: 0, filesKnown: 0, resets: 0 }): IndexMirror {
  return new Mirror(counts);
}

class Mirror implements IndexMirror {
  readonly #counts: IndexMirrorCounts;
  #index = createBlobIndex();
  #files = new Set<ObjectId>();
  /** Files that others stand for; their content does not count. Only old programs have written such. */
  #superseded = new Set<ObjectId>();
  /** Each call lists by itself: what it needs may have been written after another one listed. But not two at once, which would read the same. */
  readonly #turn = new Slots(1);

  constructor(counts: IndexMirrorCounts) {
    this.#counts = counts;
  }

  get heldBytes(): number {
    return this.#index.heldBytes + this.#files.size * fileHeldBytes;
  }

  async refresh(repository: Repository, signal?: AbortSignal): Promise<BlobIndex> {
    return await this.#turn.run(async () => {
      signal?.throwIfAborted();
      // Before the listing: a file that is noted during it may be missing in it.
      const before = [...this.#files];
      const { ids: listed, maxEntries } = await listIndexFiles(repository, signal);
      const there = new Set(listed);
      if (before.some((id) => !there.has(id))) this.#reset(new Set());
      if (this.#files.size === 0) this.#index.reserve(maxEntries);
      while (!(await this.#readNew(repository, listed, signal))) this.#reset(this.#superseded);
      return this.#index;
    });
  }

  note(id: ObjectId, packs: readonly IndexedPack[]): void {
    if (!this.#files.has(id)) this.#take(id, (index) => packs.forEach((pack) => index.add(pack)));
  }

  /** False when a file turned out to stand for one that had been taken in. */
  async #readNew(repository: Repository, listed: readonly ObjectId[], signal: AbortSignal | undefined): Promise<boolean> {
    const wanted = listed.filter((id) => !this.#files.has(id));
    this.#counts.filesKnown += listed.length - wanted.length;
    let isRight = true;
    await loadIndexFiles(repository, wanted, signal === undefined ? {} : { signal }, (id, file) => {
      this.#counts.filesRead++;
      const others = file.supersedes.filter((other) => !this.#superseded.has(other));
      for (const other of others) this.#superseded.add(other);
      if (others.some((other) => this.#files.has(other))) isRight = false;
      // Noted by its writer in the meantime, perhaps.
      if (!this.#files.has(id)) this.#take(id, (index) => file.addTo(index));
    });
    return isRight;
  }

  #take(id: ObjectId, addTo: (index: BlobIndex) => void): void {
    if (!this.#superseded.has(id)) addTo(this.#index);
    this.#files.add(id);
  }

  /** Calls that run keep the index that they were given. */
  #reset(superseded: Set<ObjectId>): void {
    this.#counts.resets++;
    this.#index = createBlobIndex();
    this.#files = new Set();
    this.#superseded = superseded;
  }
}
