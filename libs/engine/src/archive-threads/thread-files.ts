import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createArenaChunker, type Arena, type ArenaChunker } from '@holdfast/restic-format/arena';
import { maxChunkBytes, minChunkBytes } from '@holdfast/restic-format/chunker';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import { noAttributesFound, readOpenAttributes, type FoundAttributes } from '@holdfast/sources/extended-attributes';
import { findHoles } from '@holdfast/sources/file-holes';
import { openThreadFolder } from '@holdfast/sources/thread-folder';
import { readingError } from '@holdfast/sources/file-system-error';
import { closeSync, readSync } from 'node:fs';
import { joinPath } from '../source-node.ts';
import { skippedFile, type BatchAnswer, type FileAnswer, type FolderOfFiles, type GroupAnswer } from './archive-calls.ts';
import { IdList } from './id-list.ts';

/** One read; beyond this a larger one gains nothing. */
const readBytes = 1024 * 1024;
/** Reads go into this much of the arena: the longest chunk and one read. */
export const readRegionBytes = maxChunkBytes + readBytes;
/** A hole that is not read: below this asking costs as much. */
const worthwhileHoleBytes = 4 * 1024 * 1024;

export interface ThreadFilesOptions {
  readonly arena: Arena;
  /** The first of readRegionBytes bytes of the arena. */
  readonly address: number;
  readonly polynomial: bigint;
  /** Stores chunks of the arena, pairs of address and length of which the first `count` count, and writes their ids, one behind the other. */
  readonly save: (pieces: Uint32Array, count: number, ids: Uint8Array) => Promise<void>;
  readonly throwIfAborted: () => void;
}

interface StoredSmall {
  readonly sizeBytes: number;
  readonly attributes: FoundAttributes;
  /** Open, of a file that has to be cut: then it is not stored yet. */
  readonly descriptor: number;
}

const notOpen = -1;

/** Small files are gathered until there is so much of them, and then hashed together; no more than a core's cache takes. */
const gatheredBytes = 512 * 1024;
const maxPieces = 256;

const nothingStored: FileAnswer = {
  kind: 'skipped',
  reason: '',
  sizeBytes: 0,
  segments: [],
  descriptor: -1,
  attributes: noAttributesFound,
};

/** Chunks that lie one behind the other in the read region. */
interface CutRun {
  readonly lengths: readonly number[];
  readonly positionBytes: number;
}

/** Reads files with blocking calls, cuts them and has the chunks stored. */
export class ThreadFiles {
  readonly #options: ThreadFilesOptions;
  readonly #chunker: ArenaChunker;
  readonly #pieces = new Uint32Array(maxPieces * 2);
  readonly #pieceIds = new Uint8Array(maxPieces * objectIdBytes);
  #pieceCount = 0;
  /** Of the region that are taken by pieces. */
  #pieceBytes = 0;

  constructor(options: ThreadFilesOptions) {
    this.#options = options;
    this.#chunker = createArenaChunker(options.arena, options.polynomial);
  }

  async storeBatch(folders: readonly FolderOfFiles[]): Promise<BatchAnswer> {
    const fileCount = folders.reduce((sum, { names }) => sum + names.length, 0);
    const [blobCounts, sizesBytes] = [new Int32Array(fileCount), new Float64Array(fileCount)];
    const ids = new IdList();
    const reasons: string[] = [];
    const attributes = new Map<number, FoundAttributes>();
    let nth = 0;
    this.#dropPieces();
    for (const { folder, names } of folders) {
      const opened = attempt(() => openThreadFolder(folder));
      for (const name of names) {
        this.#options.throwIfAborted();
        const read = opened.kind === 'done' ? this.#readSmall(opened.value, name) : opened;
        let blobCount = read.kind === 'done' && read.value.sizeBytes > 0 ? 1 : 0;
        let stored = read;
        if (read.kind === 'done' && read.value.descriptor !== notOpen) {
          const before = ids.count + this.#pieceCount;
          stored = await this.#storeCut(read.value.descriptor, joinPath(folder, name), ids);
          if (stored.kind === 'skipped') ids.count = before;
          blobCount = ids.count - before;
        } else if (this.#pieceBytes >= gatheredBytes || this.#pieceCount === maxPieces) await this.#savePieces(ids);
        if (stored.kind === 'skipped') reasons.push(stored.reason);
        else if (stored.value.attributes !== noAttributesFound) attributes.set(nth, stored.value.attributes);
        blobCounts[nth] = stored.kind === 'skipped' ? skippedFile : blobCount;
        sizesBytes[nth++] = stored.kind === 'skipped' ? 0 : stored.value.sizeBytes;
      }
      if (opened.kind === 'done') opened.value.close();
    }
    await this.#savePieces(ids);
    return { ids: ids.copy(), blobCounts, sizesBytes, reasons, attributes };
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
    if (opened.kind === 'skipped') return { ...nothingStored, reason: opened.reason };
    const descriptor = opened.value;
    const segments: (Uint8Array | number)[] = [];
    const storeRun = async (run: CutRun): Promise<void> => {
      const group = share(descriptor, cutsOf(run));
      if (group !== null) segments.push(group);
      else segments.push(await this.#storeRun(run, onBytes));
    };
    let isKept = false;
    try {
      const storeZeros = (zeroId: Uint8Array, count: number): void => {
        segments.push(repeated(zeroId, count));
        onBytes(count * minChunkBytes);
      };
      const sizeBytes = await this.#cutAll(descriptor, joinPath(folder, name), storeRun, storeZeros);
      isKept = segments.some((segment) => typeof segment === 'number');
      return { kind: 'stored', reason: '', sizeBytes, segments, descriptor, attributes: readOpenAttributes(descriptor) };
    } catch (error) {
      if (!isPathError(error)) throw error;
      return { ...nothingStored, reason: error.message, segments };
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

  /** Reads a file that is one chunk in any case to where the next piece may begin; one that is not stays open. */
  #readSmall(folder: ReturnType<typeof openThreadFolder>, name: string): Attempt<StoredSmall> {
    const opened = attempt(() => folder.openFile(name));
    if (opened.kind === 'skipped') return opened;
    const descriptor = opened.value;
    let isKept = false;
    try {
      const address = this.#options.address + this.#pieceBytes;
      const read = attempt(() => readSync(descriptor, this.#options.arena.memory, address, minChunkBytes, 0));
      if (read.kind === 'skipped') return read;
      const sizeBytes = read.value;
      // Less than was asked for: the file ends here. Most files do.
      isKept = sizeBytes === minChunkBytes;
      const attributes = readOpenAttributes(descriptor);
      if (isKept) return { kind: 'done', value: { sizeBytes, attributes, descriptor } };
      if (sizeBytes > 0) this.#addPiece(address, sizeBytes);
      this.#pieceBytes += sizeBytes;
      return { kind: 'done', value: { sizeBytes, attributes, descriptor: notOpen } };
    } finally {
      if (!isKept) closeSync(descriptor);
    }
  }

  /** Stores the pieces that wait, cuts and stores the whole of an open file, and closes it. */
  async #storeCut(descriptor: number, path: string, ids: IdList): Promise<Attempt<StoredSmall>> {
    try {
      await this.#savePieces(ids);
      const sizeBytes = await this.#cutAll(
        descriptor,
        path,
        async (run) => await this.#saveRun(run, ids),
        (zeroId, count) => {
          for (let nth = 0; nth < count; nth++) ids.push(zeroId);
        },
      );
      return { kind: 'done', value: { sizeBytes, attributes: readOpenAttributes(descriptor), descriptor: notOpen } };
    } catch (error) {
      if (!isPathError(error)) throw error;
      return { kind: 'skipped', reason: error.message };
    } finally {
      closeSync(descriptor);
    }
  }

  #addPiece(address: number, sizeBytes: number): void {
    this.#pieces[this.#pieceCount * 2] = address;
    this.#pieces[this.#pieceCount * 2 + 1] = sizeBytes;
    this.#pieceCount++;
  }

  /** Stores the pieces and adds their ids to the list. */
  async #savePieces(ids: IdList): Promise<void> {
    const count = this.#pieceCount;
    if (count > 0) await this.#options.save(this.#pieces, count, this.#pieceIds);
    this.#dropPieces();
    ids.push(this.#pieceIds.subarray(0, count * objectIdBytes));
  }

  /** Also what an aborted call has left. */
  #dropPieces(): void {
    this.#pieceCount = 0;
    this.#pieceBytes = 0;
  }

  /** Stores the run's chunks, which lie in the region. */
  async #saveRun({ lengths }: CutRun, ids: IdList): Promise<void> {
    this.#dropPieces();
    let at = this.#options.address;
    for (const length of lengths) {
      this.#addPiece(at, length);
      at += length;
    }
    await this.#savePieces(ids);
  }

  /**
   * Reads the file to its end, cuts it, and hands over run after run; returns how many bytes it had. What lies in a hole is not read:
   * zeros are cut as soon as they may be, so that each chunk of them has the least size and the same id.
   */
  async #cutAll(
    descriptor: number,
    path: string,
    onRun: (run: CutRun) => Promise<void>,
    onZeros: (zeroId: Uint8Array, count: number) => void,
  ): Promise<number> {
    const { address, arena, throwIfAborted } = this.#options;
    const holes = findHoles(descriptor, worthwhileHoleBytes);
    let positionBytes = 0; // of the region's first byte in the file, where a chunk begins
    let held = 0; // bytes of the file in the region
    for (let isLast = false; ;) {
      const holeBytes = holes === null || isLast ? 0 : holes.nextData(positionBytes) - positionBytes;
      if (holeBytes >= worthwhileHoleBytes) {
        const count = Math.floor(holeBytes / minChunkBytes);
        onZeros(await this.#storeZeroChunk(), count);
        positionBytes += count * minChunkBytes;
        // The zero chunk lies where what was read ahead did.
        held = 0;
      }
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

  /** Its id; the region is written over. */
  async #storeZeroChunk(): Promise<Uint8Array> {
    const { address, arena } = this.#options;
    arena.memory.fill(0, address, address + minChunkBytes);
    const ids = new IdList();
    await this.#saveRun({ lengths: [minChunkBytes], positionBytes: 0 }, ids);
    return ids.copy();
  }

  /** The ids of the run's chunks, which lie in the region. */
  async #storeRun(run: CutRun, onBytes: (bytes: number) => void): Promise<Uint8Array> {
    const ids = new IdList();
    await this.#saveRun(run, ids);
    onBytes(run.lengths.reduce((sum, length) => sum + length, 0));
    return ids.copy();
  }
}

function repeated(id: Uint8Array, count: number): Uint8Array {
  const ids = new Uint8Array(id.length * count);
  for (let nth = 0; nth < count; nth++) ids.set(id, nth * id.length);
  return ids;
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
