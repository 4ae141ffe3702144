import type { ObjectId } from '@holdfast/restic-format/object-id';
import { untilAborted } from '@holdfast/storage/until-aborted';
import type { BlobIndex } from '../blob-index.ts';
import { isDamage } from '../damage.ts';
import { listIndexFiles, loadIndex } from '../load-index.ts';
import type { Repository } from '../repository.ts';

/**
 * The index of a repository for calls that read under no lock. What they look for lies where the index says, until a cleanup has moved it:
 * when something is not there, the index is read anew, once, if there is another one by then.
 */
export class CurrentIndex {
  readonly #repository: Repository;
  /** Ends when nobody needs the index any more: a call that is given up does not end what others wait for. */
  readonly #closed: AbortSignal;
  #current: Promise<SeenIndex> | undefined;
  /** One look at a time: of many calls that miss something, the first one reads. */
  #looking: Promise<SeenIndex> | undefined;

  constructor(repository: Repository, closed: AbortSignal) {
    this.#repository = repository;
    this.#closed = closed;
  }

  /** Has `work` done with the index, and again with the newer one when something was not where the first one says. Errors: those of `work` and of loadIndex. */
  async use<T>(signal: AbortSignal, work: (index: BlobIndex) => Promise<T>): Promise<T> {
    const seen = await this.get(signal);
    try {
      return await work(seen.index);
    } catch (error) {
      if (!isDamage(error)) throw error;
      const newer = await this.newerThan(seen, signal);
      if (newer === null) throw error;
      return await work(newer.index);
    }
  }

  /** The index by itself, for whoever looks for a newer one by `newerThan`. */
  async get(signal: AbortSignal): Promise<SeenIndex> {
    return await untilAborted(this.#get(), signal);
  }

  /** After something was not where `seen` says; null when there is no newer one. */
  async newerThan(seen: SeenIndex, signal: AbortSignal): Promise<SeenIndex | null> {
    const newer = await untilAborted(this.#look(seen), signal);
    return newer === seen ? null : newer;
  }

  #get(): Promise<SeenIndex> {
    if (this.#current === undefined) {
      const loading = this.#load();
      this.#current = loading;
      loading.catch(() => {
        if (this.#current === loading) this.#current = undefined;
      });
    }
    return this.#current;
  }

  /** What was seen, when it still is what there is; else what there is now. */
  async #look(seen: SeenIndex): Promise<SeenIndex> {
    const current = await this.#get();
    if (current !== seen) return current;
    this.#looking ??= this.#lookAgain(seen).finally(() => (this.#looking = undefined));
    return await this.#looking;
  }

  async #lookAgain(seen: SeenIndex): Promise<SeenIndex> {
    const { ids } = await listIndexFiles(this.#repository, this.#closed);
    if (ids.join() === seen.fileIds.join()) return seen;
    const newer = await this.#load();
    this.#current = Promise.resolve(newer);
    return newer;
  }

  async #load(): Promise<SeenIndex> {
    const mirror = this.#repository.indexMirror;
    if (mirror === undefined) {
      const { index, files } = await loadIndex(this.#repository, { signal: this.#closed });
      return { index, fileIds: files.map(({ id }) => id).toSorted() };
    }
    // Before it is brought up to date, so that a file that comes meanwhile is looked for again at worst.
    const { ids } = await listIndexFiles(this.#repository, this.#closed);
    return { index: await mirror.refresh(this.#repository, this.#closed), fileIds: ids };
  }
}

/** The index, as it was at a time. */
export interface SeenIndex {
  readonly index: BlobIndex;
  /** Of the files that it was read from, in order. */
  readonly fileIds: readonly ObjectId[];
}
