import type { ArchiveTally } from './archive-tally.ts';
import { walkSource } from './archive-walk.ts';
import type { ArchiveOptions } from './archiver.ts';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import { createBlockingStorer } from './blocking-storer.ts';
import type { Clock } from './clock.ts';
import { recordKeyOf } from './file-cutter.ts';
import { createFileStorer, type FileStorer } from './file-storer.ts';
import { createPacker, type PackerOptions } from './packer.ts';
import type { CachedParent } from './stat-cache/cached-parent.ts';
import { createSplitStorer } from './split-storer.ts';
import { storeWith, type OpenedSink, type StoredTree } from './stored-tree.ts';

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
  { index, known, tally, clock, isLittle, signal: outerSignal }: StoreContext,
): Promise<StoredTree> {
  const { repository, source, compression = 'auto' } = options;
  return await storeWith(
    outerSignal,
    (signal) => openStorer(options, { index, compression, clock, signal, isLittle }),
    ({ sink, storer, concurrentFiles }, signal) =>
      walkSource({
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
      }),
  );
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

interface OpenedStorer extends OpenedSink {
  readonly storer: FileStorer;
  readonly concurrentFiles: number;
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
    const threads = new ArchiveThreads({ repository, source, pool: borrowed.pool, holdsRecords: source.holdsRecords, ...rest });
    if (isThreaded(options) && source.streams === undefined) {
      return { sink: threads, storer: threads, concurrentFiles: filesForThreads, close };
    }
    const { StreamedFiles } = await import('./archive-threads/streamed-files.ts');
    const streamed = new StreamedFiles(source, threads.chunkStreamOptions, recordKeyOf(repository.chunkerPolynomial));
    if (isThreaded(options)) {
      const storer = createSplitStorer({ threads, streamed }, (folder) => source.streams?.(folder) === true);
      return { sink: threads, storer, concurrentFiles: filesForThreads, close };
    }
    return { sink: threads, storer: streamed, concurrentFiles: source.concurrentFiles ?? filesWithoutThreads, close };
  }
  const sink = createPacker({ repository, ...rest });
  const others = createFileStorer({ source, sink, polynomial: repository.chunkerPolynomial });
  if (!isThreaded(options)) {
    return { sink, storer: others, concurrentFiles: source.concurrentFiles ?? filesWithoutThreads, close: closeNothing };
  }
  const blocking = createBlockingStorer({ sink, others });
  if (source.streams !== undefined) {
    const storer = createSplitStorer({ threads: blocking, streamed: others }, (folder) => source.streams?.(folder) === true);
    return { sink, storer, concurrentFiles: source.concurrentFiles ?? filesWithoutThreads, close: closeNothing };
  }
  return { sink, storer: blocking, concurrentFiles: filesWithoutThreads, close: closeNothing };
}
