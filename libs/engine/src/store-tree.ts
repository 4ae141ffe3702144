import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { ArchiveTally } from './archive-tally.ts';
import { walkSource } from './archive-walk.ts';
import type { ArchiveOptions } from './archiver.ts';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import type { BlobCounts, BlobSink } from './blob-sink.ts';
import { createBlockingStorer } from './blocking-storer.ts';
import type { Clock } from './clock.ts';
import { createFileStorer, type FileStorer } from './file-storer.ts';
import { createPacker, type PackerOptions } from './packer.ts';
import type { CachedParent } from './stat-cache/cached-parent.ts';
import type { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface StoredTree {
  readonly treeId: ObjectId;
  /** Whole when it is finished. */
  readonly counts: BlobCounts;
  /** For the next backup; undefined when what is recorded already is right. */
  readonly recorded: RecordedFolder | undefined;
  /** Makes it durable; to be called once. */
  readonly finish: (signal: AbortSignal) => Promise<void>;
  /** Ends what was opened to store it, in every case. */
  readonly close: () => Promise<void>;
}

interface StoreContext {
  readonly index: BlobIndex;
  readonly known: CachedParent | undefined;
  readonly tally: ArchiveTally;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly isLittle: boolean;
}

/** Walks the source and stores what is new of it; closes what it opened for that when it throws. */
export async function storeTree(
  options: ArchiveOptions,
  { index, known, tally, clock, isLittle, ...context }: StoreContext,
): Promise<StoredTree> {
  const { repository, source, compression = 'auto' } = options;
  // Ends the uploads when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  const end = async (): Promise<void> => {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await opened.sink.settle();
    await opened.close();
  };
  const opened = await openStorer(options, { index, compression, clock, signal, isLittle });
  const { sink, storer, concurrentFiles } = opened;
  try {
    const walked = await walkSource({
      source,
      index,
      sink,
      loader: createBlobLoader(repository, index),
      storer,
      concurrentFiles,
      ...(options.parent === undefined ? {} : { parentTreeId: options.parent.tree }),
      known: known?.top,
      recordClock: options.statCache === undefined ? undefined : clock,
      signal,
      onFile: (kind, sizeBytes) => tally.addFile(kind, sizeBytes),
      onDirectory: (kind) => tally.addDirectory(kind),
      onSame: (totals) => tally.addSame(totals),
      onBytes: (bytes) => tally.addBytes(bytes),
      onSkipped: (skipped) => tally.addSkipped(skipped),
      onWarning: (message) => tally.addWarning(message),
    });
    return {
      ...walked,
      counts: sink.counts,
      finish: async (finishSignal) => {
        const onAbort = (): void => ended.abort(finishSignal.reason);
        finishSignal.addEventListener('abort', onAbort, { once: true });
        try {
          finishSignal.throwIfAborted();
          await sink.finish();
        } finally {
          finishSignal.removeEventListener('abort', onAbort);
        }
      },
      close: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Files in hand at once: enough to fill the threads' batches; each costs the walk a few hundred bytes. */
const filesForThreads = 1024;
/** Two hide the latency of a disk, more than four gain nothing while one thread cuts and seals. */
const filesWithoutThreads = 4;

/** Threads open files by themselves, which only some sources allow. */
function isThreaded({ source, concurrency }: ArchiveOptions): boolean {
  return source.threadOptions !== undefined && concurrency !== 0;
}

/** This thread reads the files and gives their bytes to the others. */
function isStreamed({ source, concurrency }: ArchiveOptions): boolean {
  return source.threadOptions === undefined && concurrency !== 0;
}

const closeNothing = async (): Promise<void> => {};

interface StorerOptions extends Omit<PackerOptions, 'repository'> {
  readonly isLittle: boolean;
}

interface OpenedStorer {
  readonly sink: BlobSink;
  readonly storer: FileStorer;
  readonly concurrentFiles: number;
  close(): Promise<void>;
}

async function openStorer(options: ArchiveOptions, { isLittle, ...rest }: StorerOptions): Promise<OpenedStorer> {
  const { repository, source } = options;
  if (isStreamed(options) || (isThreaded(options) && !isLittle)) {
    const [{ borrowPool }, { ArchiveThreads }] = await Promise.all([
      import('./threads/borrowed-pool.ts'),
      import('./archive-threads/archive-threads.ts'),
    ]);
    const borrowed = borrowPool(options);
    const close = async (): Promise<void> => borrowed[Symbol.asyncDispose]();
    const threads = new ArchiveThreads({ repository, source, pool: borrowed.pool, ...rest });
    if (isThreaded(options)) return { sink: threads, storer: threads, concurrentFiles: filesForThreads, close };
    const { StreamedFiles } = await import('./archive-threads/streamed-files.ts');
    const concurrentFiles = source.concurrentFiles ?? filesWithoutThreads;
    return { sink: threads, storer: new StreamedFiles(source, threads.chunkStreamOptions), concurrentFiles, close };
  }
  const sink = createPacker({ repository, ...rest });
  const others = createFileStorer({ source, sink, polynomial: repository.chunkerPolynomial });
  if (!isThreaded(options)) {
    return { sink, storer: others, concurrentFiles: source.concurrentFiles ?? filesWithoutThreads, close: closeNothing };
  }
  return { sink, storer: createBlockingStorer({ sink, others }), concurrentFiles: filesWithoutThreads, close: closeNothing };
}
