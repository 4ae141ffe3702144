import type { Chunker } from '@holdfast/restic-format/chunker';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { InspectedChunk, InspectionSubject } from '../archive-stream/chunk-inspection.ts';
import { groupBytes, type ChunkBuffers } from './chunk-buffers.ts';

export interface ChunkStreamOptions {
  readonly chunker: Chunker;
  readonly buffers: ChunkBuffers;
  /** Stores chunks that lie one behind the other from the buffer's first byte on. The buffer is not the caller's any more. */
  readonly store: (chunks: ChunksToStore) => Promise<StoredChunks>;
  readonly signal: AbortSignal;
}

export interface ChunksToStore {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly lengths: Uint32Array;
  /** What each is to be inspected as, null for one that is not; null when none is. */
  readonly subjects: readonly (InspectionSubject | null)[] | null;
}

export interface StoredChunks {
  readonly ids: readonly ObjectId[];
  /** The buffer back. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** Of each chunk; empty when none was inspected. */
  readonly reports: readonly (Uint32Array | null)[];
}

/** Fills `into` from `positionBytes`; returns the bytes read, 0 at the end. */
export type ReadStream = (into: Uint8Array, positionBytes: number) => Promise<number>;

export interface StreamedFileOptions {
  /** Hears of every stored part's size. */
  readonly onBytes: (bytes: number) => void;
  readonly inspection?: FileInspection | undefined;
}

export interface FileInspection {
  readonly subject: InspectionSubject;
  /** Called once all of the file is stored, with its chunks in their order. What it throws is what the file failed with. */
  onInspected(chunks: readonly InspectedChunk[]): void;
}

/** A file that has been read to its end. */
export interface StreamedFile {
  readonly sizeBytes: number;
  /** There when all of it is stored, for which the stream has to go on or be flushed. */
  readonly content: Promise<readonly ObjectId[]>;
}

/** One read; beyond this a larger one gains nothing. */
const readBytes = 1024 * 1024;
/** Chunks of one call: thousands of tiny files must not wait for a full buffer. */
const maxGroupChunks = 1024;

/** Chunks in one buffer that go to a thread together. */
interface Group {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly lengths: number[];
  /** Of each chunk. */
  readonly subjects: (InspectionSubject | null)[];
  /** Of the buffer, that are chunks. */
  cutBytes: number;
  /** Of the buffer, that are read. */
  heldBytes: number;
  readonly answer: PromiseWithResolvers<StoredParts>;
}

type StoredParts = Omit<StoredChunks, 'buffer'>;

/** Chunks of one file in one group. */
interface Run {
  readonly group: Group;
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
}

/**
 * Reads files one after the other, cuts them here, since a cut depends on all that is before it, and has the chunks stored elsewhere: whole
 * buffers at a time, in which small files lie side by side. One file at a time.
 */
export class ChunkStream {
  readonly #options: ChunkStreamOptions;
  #group: Group | undefined;

  constructor(options: ChunkStreamOptions) {
    this.#options = options;
  }

  /** Returns when the file is read. Throws what `read` throws: the stream is as it was before the file then, and can go on. */
  async add(read: ReadStream, options: StreamedFileOptions): Promise<StreamedFile> {
    const runs: Run[] = [];
    let sizeBytes = 0;
    for (let isLast = false; !isLast;) {
      const group = (this.#group ??= this.#begin());
      const { buffer, lengths } = group;
      // Filled so far and without a cut: up to the buffer's end there is one.
      const limit = group.heldBytes < groupBytes ? groupBytes : buffer.length;
      try {
        while (!isLast && group.heldBytes < limit) {
          this.#options.signal.throwIfAborted();
          const end = Math.min(group.heldBytes + readBytes, limit);
          const count = await read(buffer.subarray(group.heldBytes, end), sizeBytes);
          isLast = count === 0;
          group.heldBytes += count;
          sizeBytes += count;
        }
      } catch (error) {
        group.heldBytes = group.cutBytes;
        throw error;
      }
      const [first, start] = [lengths.length, group.cutBytes];
      this.#cut(group, isLast, options.inspection?.subject ?? null);
      if (lengths.length > first) runs.push({ group, first, count: lengths.length - first, bytes: group.cutBytes - start });
      const isFull = !isLast || group.heldBytes >= groupBytes || lengths.length >= maxGroupChunks;
      if (isFull && lengths.length > 0) await this.#send(group);
    }
    const content = contentOf(runs, options);
    content.catch(() => {});
    return { sizeBytes, content };
  }

  /** Sends what has gathered. */
  async flush(): Promise<void> {
    if (this.#group !== undefined) await this.#send(this.#group);
  }

  /** Gives up what has gathered: whoever waits for it hears `reason`. */
  giveUp(reason: unknown): void {
    this.#group?.answer.reject(reason);
    this.#group = undefined;
  }

  #begin(): Group {
    const answer = Promise.withResolvers<StoredParts>();
    // Whoever waits for a file hears of a failure.
    answer.promise.catch(() => {});
    return { buffer: this.#options.buffers.take(), lengths: [], subjects: [], cutBytes: 0, heldBytes: 0, answer };
  }

  #cut(group: Group, isLast: boolean, subject: InspectionSubject | null): void {
    const { chunker } = this.#options;
    for (let length = -1; length !== 0; group.cutBytes += length) {
      length = chunker.cut(group.buffer, group.cutBytes, group.heldBytes, isLast);
      if (length === 0) continue;
      group.lengths.push(length);
      group.subjects.push(subject);
    }
  }

  /** What is not cut yet begins the next group. */
  async #send({ buffer, lengths, subjects, cutBytes, heldBytes, answer }: Group): Promise<void> {
    const { buffers } = this.#options;
    this.#group = undefined;
    if (lengths.length === 0) {
      buffers.giveBack(buffer);
      return;
    }
    try {
      await buffers.depart();
    } catch (error) {
      answer.reject(error);
      throw error;
    }
    if (cutBytes < heldBytes) {
      this.#group = this.#begin();
      this.#group.buffer.set(buffer.subarray(cutBytes, heldBytes));
      this.#group.heldBytes = heldBytes - cutBytes;
    }
    const isInspected = subjects.some((subject) => subject !== null);
    const chunks = { buffer, lengths: Uint32Array.from(lengths), subjects: isInspected ? subjects : null };
    void this.#store(chunks).then(answer.resolve, answer.reject);
  }

  async #store(chunks: ChunksToStore): Promise<StoredParts> {
    const { buffers, store } = this.#options;
    try {
      const { buffer, ids, reports } = await store(chunks);
      buffers.giveBack(buffer);
      return { ids, reports };
    } finally {
      buffers.arrive();
    }
  }
}

async function contentOf(runs: readonly Run[], { onBytes, inspection }: StreamedFileOptions): Promise<readonly ObjectId[]> {
  const content: ObjectId[] = [];
  const inspected: InspectedChunk[] = [];
  for (const { group, first, count, bytes } of runs) {
    const { ids, reports } = await group.answer.promise;
    for (let nth = first; nth < first + count; nth++) {
      content.push(ids[nth] ?? '');
      const report = reports[nth] ?? null;
      if (report !== null) inspected.push({ sizeBytes: group.lengths[nth] ?? 0, report });
    }
    onBytes(bytes);
  }
  inspection?.onInspected(inspected);
  return content;
}
