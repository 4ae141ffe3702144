import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createArenaChunker, type Arena, type ArenaChunker } from '@holdfast/restic-format/arena';
import { maxChunkBytes, minChunkBytes } from '@holdfast/restic-format/chunker';
import { openThreadFolder } from '@holdfast/sources/thread-folder';
import { readingError } from '@holdfast/sources/file-system-error';
import { closeSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { skippedFile, type BatchAnswer, type FileAnswer, type FolderOfFiles, type GroupAnswer } from './archive-calls.ts';
import { IdList } from './id-list.ts';

/** One read; beyond this a larger one gains nothing. */
const readBytes = 1024 * 1024;
/** Reads go into this much of the arena: the longest chunk and one read. */
export const readRegionBytes = maxChunkBytes + readBytes;

export interface ThreadFilesOptions {
  readonly arena: Arena;
  /** The first of readRegionBytes bytes of the arena. */
  readonly address: number;
  readonly polynomial: bigint;
  /** Stores the chunk at `address` of the arena and gives its id, good until the next call. */
  readonly save: (address: number, sizeBytes: number) => Promise<Uint8Array>;
  readonly throwIfAborted: () => void;
}

/** Chunks that lie one behind the other in the read region. */
interface CutRun {
  readonly lengths: readonly number[];
  readonly positionBytes: number;
}

/** Reads files with blocking calls, cuts them and has the chunks stored. */
export class ThreadFiles {
  readonly #options: ThreadFilesOptions;
  readonly #chunker: ArenaChunker;

  constructor(options: ThreadFilesOptions) {
    this.#options = options;
    this.#chunker = createArenaChunker(options.arena, options.polynomial);
  }

  async storeBatch(folders: readonly FolderOfFiles[]): Promise<BatchAnswer> {
    const fileCount = folders.reduce((sum, { names }) => sum + names.length, 0);
    const [blobCounts, sizesBytes] = [new Int32Array(fileCount), new Float64Array(fileCount)];
    const ids = new IdList();
    const reasons: string[] = [];
    let nth = 0;
    for (const { folder, names } of folders) {
      const opened = attempt(() => openThreadFolder(folder));
      for (const name of names) {
        this.#options.throwIfAborted();
        const before = ids.count;
        const stored = opened.kind === 'done' ? await this.#storeIn(opened.value, name, posix.join(folder, name), ids) : opened;
        if (stored.kind === 'skipped') {
          ids.count = before;
          reasons.push(stored.reason);
        }
        blobCounts[nth] = stored.kind === 'skipped' ? skippedFile : ids.count - before;
        sizesBytes[nth++] = stored.kind === 'skipped' ? 0 : stored.value;
      }
      if (opened.kind === 'done') opened.value.close();
    }
    return { ids: ids.copy(), blobCounts, sizesBytes, reasons };
  }

  /** `share` may take a run of chunks over, and then returns the number that it goes by. */
  async storeLarge(
    folder: string,
    name: string,
    share: (descriptor: number, cuts: Float64Array) => number | null,
    onBytes: (bytes: number) => void,
  ): Promise<FileAnswer> {
    const opened = attempt(() => {
      const within = openThreadFolder(folder);
      try {
        return within.openFile(name);
      } finally {
        within.close();
      }
    });
    if (opened.kind === 'skipped') return { kind: 'skipped', reason: opened.reason, sizeBytes: 0, segments: [], descriptor: -1 };
    const descriptor = opened.value;
    const segments: (Uint8Array | number)[] = [];
    const storeRun = async (run: CutRun): Promise<void> => {
      const group = share(descriptor, cutsOf(run));
      if (group !== null) segments.push(group);
      else segments.push(await this.#storeRun(run, onBytes));
    };
    let isKept = false;
    try {
      const sizeBytes = await this.#cutAll(descriptor, posix.join(folder, name), storeRun);
      isKept = segments.some((segment) => typeof segment === 'number');
      return { kind: 'stored', reason: '', sizeBytes, segments, descriptor };
    } catch (error) {
      if (!isPathError(error)) throw error;
      return { kind: 'skipped', reason: error.message, sizeBytes: 0, segments, descriptor: -1 };
    } finally {
      if (!isKept) closeSync(descriptor);
    }
  }

  async storeGroup(descriptor: number, cuts: Float64Array): Promise<GroupAnswer> {
    const { address, arena } = this.#options;
    const [first = 0] = cuts;
    const sizeBytes = (cuts.at(-2) ?? 0) + (cuts.at(-1) ?? 0) - first;
    for (let done = 0; done < sizeBytes;) {
      const read = attempt(() => readSync(descriptor, arena.memory, address + done, sizeBytes - done, first + done));
      if (read.kind === 'skipped' || read.value === 0) return { ids: new Uint8Array(), isWhole: false };
      done += read.value;
    }
    const lengths = Array.from(cuts).filter((_, nth) => nth % 2 === 1);
    return { ids: await this.#storeRun({ lengths, positionBytes: first }, () => {}), isWhole: true };
  }

  async #storeIn(folder: ReturnType<typeof openThreadFolder>, name: string, path: string, ids: IdList): Promise<Attempt<number>> {
    const { address, arena, save } = this.#options;
    const opened = attempt(() => folder.openFile(name));
    if (opened.kind === 'skipped') return opened;
    const descriptor = opened.value;
    try {
      const read = attempt(() => readSync(descriptor, arena.memory, address, readBytes, 0));
      if (read.kind === 'skipped') return read;
      // Less than was asked for: the file ends here. Most files do.
      if (read.value < minChunkBytes) {
        if (read.value > 0) ids.push(await save(address, read.value));
        return read;
      }
      const sizeBytes = await this.#cutAll(descriptor, path, async (run) => {
        let at = address;
        for (const length of run.lengths) {
          ids.push(await save(at, length));
          at += length;
        }
      });
      return { kind: 'done', value: sizeBytes };
    } catch (error) {
      if (!isPathError(error)) throw error;
      return { kind: 'skipped', reason: error.message };
    } finally {
      closeSync(descriptor);
    }
  }

  /** Reads the file to its end, cuts it, and hands over run after run; returns how many bytes it had. */
  async #cutAll(descriptor: number, path: string, onRun: (run: CutRun) => Promise<void>): Promise<number> {
    const { address, arena, throwIfAborted } = this.#options;
    let positionBytes = 0; // of the region's first byte in the file
    let held = 0; // bytes of the file in the region
    for (let isLast = false; ;) {
      while (!isLast && held < readRegionBytes) {
        throwIfAborted();
        const room = Math.min(readBytes, readRegionBytes - held);
        const read = readAt(descriptor, arena.memory, address + held, room, positionBytes + held, path);
        isLast = read === 0;
        held += read;
      }
      const lengths: number[] = [];
      let done = 0;
      for (let length = -1; length !== 0; done += length) {
        length = this.#chunker.cut(address + done, address + held, isLast);
        if (length > 0) lengths.push(length);
      }
      if (lengths.length > 0) await onRun({ lengths, positionBytes });
      if (isLast) return positionBytes + held;
      arena.memory.copyWithin(address, address + done, address + held);
      positionBytes += done;
      held -= done;
    }
  }

  /** The ids of the run's chunks, which lie in the region. */
  async #storeRun({ lengths }: CutRun, onBytes: (bytes: number) => void): Promise<Uint8Array> {
    const ids = new IdList();
    let at = this.#options.address;
    for (const length of lengths) {
      this.#options.throwIfAborted();
      ids.push(await this.#options.save(at, length));
      at += length;
    }
    onBytes(at - this.#options.address);
    return ids.copy();
  }
}

/** Position and length of each chunk in turn. */
function cutsOf({ lengths, positionBytes }: CutRun): Float64Array {
  const cuts = new Float64Array(lengths.length * 2);
  let at = positionBytes;
  for (const [nth, length] of lengths.entries()) {
    cuts.set([at, length], nth * 2);
    at += length;
  }
  return cuts;
}

type Attempt<T> = { readonly kind: 'done'; readonly value: T } | { readonly kind: 'skipped'; readonly reason: string };

/** What concerns only the one file is a reason to leave it out; anything else is thrown. */
function attempt<T>(work: () => T): Attempt<T> {
  try {
    return { kind: 'done', value: work() };
  } catch (error) {
    const known = readingError(error, 'the file');
    if (!isPathError(known)) throw known;
    return { kind: 'skipped', reason: known.message };
  }
}

function readAt(descriptor: number, memory: Uint8Array, address: number, sizeBytes: number, positionBytes: number, path: string): number {
  try {
    return readSync(descriptor, memory, address, sizeBytes, positionBytes);
  } catch (error) {
    throw readingError(error, path);
  }
}

function isPathError(error: unknown): error is Error {
  return isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable');
}
