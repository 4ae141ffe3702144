import type { CompressionMode } from '@holdfast/restic-format/compression';
import { createChunker, createFixedChunker, maxChunkBytes } from '@holdfast/restic-format/chunker';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { inspectChunk, loadChunkInspector, type ChunkInspection, type ChunkInspector } from './archive-stream/chunk-inspection.ts';
import { StreamTree, type StreamSink } from './archive-stream/stream-tree.ts';
import { ArchiveTally } from './archive-tally.ts';
import { archiveModule, ArchiveThreads } from './archive-threads/archive-threads.ts';
import { ChunkBuffers } from './archive-threads/chunk-buffers.ts';
import type { ChunksToStore, ChunkStreamOptions, StoredChunks } from './archive-threads/chunk-stream.ts';
import type { ArchiveResult } from './archiver.ts';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import type { BlobSink } from './blob-sink.ts';
import { systemClock, type Clock } from './clock.ts';
import { commitSnapshot, type SnapshotOptions } from './commit-snapshot.ts';
import { openIndex } from './load-index.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import { createPacker, type PackerOptions } from './packer.ts';
import type { OnProgress } from './progress.ts';
import { storeWith, type OpenedSink } from './stored-tree.ts';
import { borrowPool, type ThreadOptions } from './threads/borrowed-pool.ts';
import { warmPool, type WarmPool } from './threads/warm-pool.ts';

export interface ArchiveStreamOptions extends LockOptions, ThreadOptions, SnapshotOptions {
  /** What the snapshot says it holds: absolute paths, sorted. */
  readonly paths: readonly string[];
  /**
   * Called once, when the lock is had: hands everything to the sink and returns. What it throws ends the backup with no snapshot. The signal
   * tells it that nobody needs any more of it; it is to end within a second then.
   */
  readonly receive: (sink: StreamSink, signal: AbortSignal) => Promise<void>;
  /** What is to come, for progress only; by default what the parent had. */
  readonly expected?: { readonly files: number; readonly bytes: number };
  /** Default auto; see ArchiveOptions. */
  readonly compression?: CompressionMode;
  /**
   * Cuts every so many bytes, at most 8 Mi, instead of by content: for files that change in place, a page here and there, and of which no
   * part moves.
   */
  readonly fixedChunkBytes?: number;
  /** See Source.holdsRecords. */
  readonly holdsRecords?: boolean;
  /** Looks at the chunks of each InspectedContent. */
  readonly inspection?: ChunkInspection;
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
  /** Threads that store. Default one a core; 0 for none. */
  readonly concurrency?: number;
}

interface Prepared {
  readonly startedAt: Date;
  readonly tally: ArchiveTally;
  readonly index: BlobIndex;
  /** Threads that start already. */
  readonly warmed: WarmPool | undefined;
}

/**
 * Backs up what comes as one stream of files, in an order that the other side decides. As archive in everything else: packs, then index,
 * then the snapshot; what the repository has is not stored again. All of the stream is read, so a file counts as unmodified when its node
 * and its content are those of the parent. Memory: some buffers a thread, and some hundred bytes a file until its folder is made.
 * Errors: those of archive, and what `receive` throws.
 */
export async function archiveStream(options: ArchiveStreamOptions): Promise<ArchiveResult> {
  return await withSharedLock(
    options,
    async (signal): Promise<Prepared> => {
      const startedAt = (options.clock ?? systemClock).now();
      const tally = new ArchiveTally(options);
      tally.report('opening');
      // Chunks that are inspected are the threads' work, however few there are.
      const isThreaded = options.inspection !== undefined && options.concurrency !== 0;
      const warmed = isThreaded ? warmPool(options, archiveModule, signal) : undefined;
      return { startedAt, tally, index: await openIndex(options.repository, { signal }), warmed };
    },
    (prepared, signal) => archiveLocked(options, prepared, signal),
  );
}

async function archiveLocked(given: ArchiveStreamOptions, prepared: Prepared, signal: AbortSignal) {
  await using warmed = prepared.warmed;
  warmed?.keep();
  const { startedAt, tally, index } = prepared;
  const options = warmed === undefined ? given : { ...given, pool: warmed.pool };
  const { clock = systemClock, compression = 'auto', repository, expected } = options;
  if (expected !== undefined) tally.totals = expected;
  const stored = await storeWith(
    signal,
    async (storeSignal) => openStreamStore(options, { repository, index, compression, clock, signal: storeSignal }),
    async (opened, storeSignal) => {
      const loader = createBlobLoader(repository, index);
      const treeId = await receiveTree(options, { ...opened, loader, tally }, storeSignal);
      return { treeId, recorded: undefined };
    },
  );
  try {
    return await commitSnapshot(options, stored, { startedAt, tally, clock, signal });
  } finally {
    await stored.close();
  }
}

async function receiveTree(
  { parent, receive }: ArchiveStreamOptions,
  { chunks, sink, loader, tally }: OpenedStreamStore & { loader: ReturnType<typeof createBlobLoader>; tally: ArchiveTally },
  outerSignal: AbortSignal,
): Promise<ObjectId> {
  // Who receives may wait for the other side: what fails here ends that.
  const failed = new AbortController();
  const signal = AbortSignal.any([outerSignal, failed.signal]);
  const onFailed = (error: unknown): void => failed.abort(error);
  const tree = new StreamTree({ chunks, sink, loader, tally, parentTreeId: parent?.tree, onFailed, signal });
  try {
    await receive(tree, signal);
    return await tree.finish();
  } catch (error) {
    failed.abort(error);
    await tree.giveUp(error);
    // What began the end, and not what followed on it.
    throw signal.reason;
  }
}

interface OpenedStreamStore extends OpenedSink {
  readonly chunks: ChunkStreamOptions;
}

/** Of a stream nothing is opened by its path. */
const noSource = {
  openFile: async (path: string): Promise<never> => {
    throw new HoldfastError('internal', `${path} of a stream cannot be opened`);
  },
};

async function openStreamStore(options: ArchiveStreamOptions, packing: PackerOptions & { clock: Clock }): Promise<OpenedStreamStore> {
  const { fixedChunkBytes } = options;
  const opened = await openCuttingStore(options, packing);
  if (fixedChunkBytes === undefined) return opened;
  invariant(fixedChunkBytes > 0 && fixedChunkBytes <= maxChunkBytes, `${fixedChunkBytes} is no length of a chunk`);
  return { ...opened, chunks: { ...opened.chunks, chunker: createFixedChunker(fixedChunkBytes) } };
}

/** Which cuts by content. */
async function openCuttingStore(options: ArchiveStreamOptions, packing: PackerOptions & { clock: Clock }): Promise<OpenedStreamStore> {
  const { inspection, holdsRecords } = options;
  if (options.concurrency === 0) {
    const sink = createPacker(packing);
    const inspector = inspection === undefined ? null : await loadChunkInspector(inspection.module.href);
    return { sink, chunks: storingHere(sink, inspector, packing), close: async () => {} };
  }
  const borrowed = borrowPool(options);
  const threads = new ArchiveThreads({ source: noSource, pool: borrowed.pool, inspection, holdsRecords, ...packing });
  return { sink: threads, chunks: threads.chunkStreamOptions, close: async () => borrowed[Symbol.asyncDispose]() };
}

function storingHere(sink: BlobSink, inspector: ChunkInspector | null, { repository, signal }: PackerOptions): ChunkStreamOptions {
  return {
    chunker: createChunker(repository.chunkerPolynomial),
    buffers: new ChunkBuffers(1, signal),
    store: (chunks) => storeHere(chunks, sink, inspector),
    signal,
  };
}

async function storeHere(
  { buffer, lengths, subjects }: ChunksToStore,
  sink: BlobSink,
  inspector: ChunkInspector | null,
): Promise<StoredChunks> {
  const ids: ObjectId[] = [];
  const reports: (Uint32Array | null)[] = [];
  let at = 0;
  for (const [nth, length] of lengths.entries()) {
    const chunk = buffer.subarray(at, (at += length));
    if (subjects !== null) reports.push(inspectChunk(inspector, chunk, subjects[nth] ?? null));
    ids.push((await sink.save('data', chunk)).id);
  }
  return { ids, buffer, reports };
}
