import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createChunker, maxChunkBytes, minChunkBytes } from '@holdfast/restic-format/chunker';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { noAttributesFound, type FoundAttributes } from '@holdfast/sources/extended-attributes';
import type { Source, SourceFile } from '@holdfast/sources/source';
import type { BlobSink } from './blob-sink.ts';
import { keepKnown, type KeptContent, type KnownContent } from './continued-file.ts';
import { FileCutter, recordKeyOf } from './file-cutter.ts';

/**
 * Turns files into blobs: read → cut → hash → compress → seal → pack. The seam for threads: a call carries a path and gives ids,
 * no content, so an implementation can do all of it elsewhere, with a packer of its own.
 */
export interface FileStorer {
  /** Throws for the repository's troubles only. */
  store(path: string, options: StoreOptions): Promise<StoredFile>;
  /** Files of one folder at once, in their order; where it is not there, one after the other does as well. */
  storeRun?(folder: string, files: readonly FileToStore[], options: Omit<StoreOptions, 'sizeBytes'>): Promise<readonly StoredFile[]>;
}

export interface FileToStore {
  readonly name: string;
  /** What it had when it was looked at. */
  readonly sizeBytes: number;
}

export interface StoreOptions {
  readonly signal: AbortSignal;
  /** Hears of every stored part's size. */
  readonly onBytes: (bytes: number) => void;
  /** What the file had when it was looked at. */
  readonly sizeBytes: number;
  /** What an earlier backup has of its beginning, if it is the same file; who opens files in threads reads all of it. */
  readonly known?: KnownContent | undefined;
}

export type StoredFile =
  | {
      readonly kind: 'stored';
      readonly content: readonly ObjectId[];
      readonly sizeBytes: number;
      /** Absent when there are none, and when nobody can tell. */
      readonly attributes?: FoundAttributes;
    }
  /** Gone, denied or unreadable: what was read of it is not used. */
  | { readonly kind: 'skipped'; readonly reason: string };

/** One read; beyond this a larger one gains nothing. */
const readBytes = 1024 * 1024;

/** Buffers for files that are one chunk in any case, kept for all backups of this thread: making one costs more than storing such a file. */
const smallBuffers: Uint8Array[] = [];
/** 8 MiB. */
const maxSmallBuffers = 16;

/** Stores in this thread, `concurrency` files at a time; those that have to be cut take 9 MiB of memory each. */
export function createFileStorer(options: { source: Pick<Source, 'openFile'>; sink: BlobSink; polynomial: bigint }): FileStorer {
  const lanes: Lane[] = [];
  const recordKey = recordKeyOf(options.polynomial);
  const makeLane = (): Lane => ({
    cutter: new FileCutter(createChunker(options.polynomial)),
    buffer: new Uint8Array(maxChunkBytes + readBytes),
  });
  const cutWhole = async (file: SourceFile, { signal, onBytes, known, sizeBytes }: StoreOptions): Promise<StoredFile> => {
    const kept = await keepKnown(file, known, sizeBytes);
    if (kept !== null) onBytes(kept.sizeBytes);
    const lane = lanes.pop() ?? makeLane();
    lane.cutter.begin(file.chosenEnds);
    try {
      return await cutAndSave(lane, file, options.sink, kept, { signal, onBytes });
    } finally {
      lanes.push(lane);
    }
  };
  return {
    async store(path, call) {
      try {
        const file = await options.source.openFile(path, { recordKey });
        try {
          const small = call.sizeBytes < minChunkBytes ? await saveSmall(file, options.sink, call) : null;
          return withAttributes(small ?? (await cutWhole(file, call)), file.readAttributes?.());
        } finally {
          await file.close();
        }
      } catch (error) {
        if (isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable'))
          return { kind: 'skipped', reason: error.message };
        throw error;
      }
    },
  };
}

export function withAttributes(stored: StoredFile, attributes: FoundAttributes = noAttributesFound): StoredFile {
  return stored.kind === 'skipped' || attributes === noAttributesFound ? stored : { ...stored, attributes };
}

/** A file below the least that is cut is one chunk. Null when it has grown to more since it was looked at. */
async function saveSmall(file: SourceFile, sink: BlobSink, { signal, onBytes }: StoreOptions): Promise<StoredFile | null> {
  const buffer = smallBuffers.pop() ?? new Uint8Array(minChunkBytes);
  try {
    signal.throwIfAborted();
    let sizeBytes = 0;
    for (let read = -1; read !== 0; sizeBytes += read) {
      if (sizeBytes === buffer.length) return null;
      read = await file.read(buffer.subarray(sizeBytes), sizeBytes);
    }
    if (sizeBytes === 0) return { kind: 'stored', content: [], sizeBytes };
    signal.throwIfAborted();
    const { id } = await sink.save('data', buffer.subarray(0, sizeBytes));
    onBytes(sizeBytes);
    return { kind: 'stored', content: [id], sizeBytes };
  } finally {
    if (smallBuffers.length < maxSmallBuffers) smallBuffers.push(buffer);
  }
}

interface Lane {
  readonly cutter: FileCutter;
  readonly buffer: Uint8Array;
}

async function cutAndSave(
  { cutter, buffer }: Lane,
  file: SourceFile,
  sink: BlobSink,
  kept: KeptContent | null,
  { signal, onBytes }: Pick<StoreOptions, 'signal' | 'onBytes'>,
): Promise<StoredFile> {
  const content: ObjectId[] = [...(kept?.content ?? [])];
  let sizeBytes = kept?.sizeBytes ?? 0; // read so far
  let end = 0; // of the data in the buffer
  for (let isLast = false; ;) {
    while (!isLast && end < buffer.length) {
      signal.throwIfAborted();
      const read = await file.read(buffer.subarray(end, Math.min(end + readBytes, buffer.length)), sizeBytes);
      isLast = read === 0;
      end += read;
      sizeBytes += read;
    }
    let start = 0;
    for (let length = cutter.cut(buffer, start, end, isLast); length > 0; length = cutter.cut(buffer, start, end, isLast)) {
      signal.throwIfAborted();
      content.push((await sink.save('data', buffer.subarray(start, start + length))).id);
      onBytes(length);
      start += length;
    }
    if (isLast) return { kind: 'stored', content, sizeBytes };
    buffer.copyWithin(0, start, end);
    end -= start;
  }
}
