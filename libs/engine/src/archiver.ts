import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import { snapshotName } from '@holdfast/restic-format/layout';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { encodeTree } from '@holdfast/restic-format/tree';
import type { SkippedEntry, Source } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import type { BlobCounts, BlobSink } from './blob-sink.ts';
import { systemClock, type Clock } from './clock.ts';
import type { FileStorer } from './file-storer.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import { openIndex } from './load-index.ts';
import { ArchiveTally, type ArchiveSummary } from './archive-tally.ts';
import { saveNamedFile } from './named-file.ts';
import type { PackerOptions } from './packer.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { scanSource } from './scan.ts';
import type { Snapshot } from './snapshots.ts';
import { compareWithParent, recordForNext, type CachedParent } from './stat-cache/cached-parent.ts';
import type { RecordedFolder } from './stat-cache/recorded-folder.ts';
import type { BorrowedPool, ThreadOptions } from './threads/borrowed-pool.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

export interface ArchiveOptions extends LockOptions, ThreadOptions {
  readonly repository: Repository;
  /** Stays the caller's to close. */
  readonly source: Source;
  /** Files with this snapshot's size, times and inode are not read again. See chooseParent. */
  readonly parent?: Snapshot;
  readonly hostname: string;
  readonly username: string;
  readonly tags?: readonly string[];
  /** The snapshot's time; by default the clock's when the call begins. */
  readonly time?: Date;
  /** Only noted in the snapshot: leaving things out is the source's work. */
  readonly excludes?: readonly string[];
  readonly programVersion?: string;
  /** Default auto. With off data is stored as it is; trees and index are compressed all the same. */
  readonly compression?: CompressionMode;
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
  /** Threads that read and store files of a source that allows it. Default one a core; 0 for none. */
  readonly concurrency?: number;
  /**
   * A folder of this machine for the stat cache, made when it is not there: with it the next backup of the same source needs to read only
   * what has changed. By default there is none.
   */
  readonly statCacheFolder?: string | undefined;
  /**
   * Called once, when packs and index are durable: it must call `write`, which writes the snapshot file, and return its id.
   * Here the caller fences the commit; throwing leaves no snapshot.
   */
  readonly commit?: (write: () => Promise<ObjectId>) => Promise<ObjectId>;
}

export interface ArchiveResult {
  readonly snapshotId: ObjectId;
  readonly treeId: ObjectId;
  readonly summary: ArchiveSummary;
  /** What could not be stored, at most maxSkippedListed of them; skippedCount counts all. */
  readonly skipped: readonly SkippedEntry[];
  readonly skippedCount: number;
  /** What was stored but deserves a look, such as a parent that could not be read. */
  readonly warnings: readonly string[];
}

/**
 * Backs the source up into the repository: packs, then index, then the snapshot. What changes, shrinks or vanishes meanwhile is
 * stored as read or listed as skipped. When it throws or is aborted no snapshot is there; what was uploaded is found by the next
 * attempt, or removed by prune. An abort ends it within a second with the signal's reason.
 * Errors: repository_locked, those of the storage, path_not_found and path_not_readable for the source's top.
 */
export async function archive(options: ArchiveOptions): Promise<ArchiveResult> {
  return await withSharedLock(
    options,
    (signal) => prepare(options, signal),
    (prepared, signal) => archiveLocked(options, prepared, signal),
  );
}

/** What is read while the lock settles. */
interface Prepared {
  /** The parent's folders, compared with the source; undefined without a stat cache that fits. */
  readonly known: CachedParent | undefined;
  /** Undefined when nothing at all has changed: then nobody asks for a blob. */
  readonly index: BlobIndex | undefined;
}

async function prepare(options: ArchiveOptions, signal: AbortSignal): Promise<Prepared> {
  const known = await compareWithParent(options, signal);
  if (known?.top.isSame === true) return { known, index: undefined };
  return { known, index: await openIndex(options.repository, { signal }) };
}

/** A backup of nothing is a mistake in its paths, not a success. */
const emptyTreeId = hashOf(encodeTree([]));

async function archiveLocked(options: ArchiveOptions, { known, index }: Prepared, outerSignal: AbortSignal): Promise<ArchiveResult> {
  const { repository, source, clock = systemClock, commit = (write) => write() } = options;
  // Ends the scan when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([outerSignal, ended.signal]);
  const startedAt = clock.now();
  const tally = new ArchiveTally(options);
  tally.report('opening');
  const scanning = tally.needsScan ? scanAhead(source, tally, clock, signal) : Promise.resolve();
  try {
    const stored = index === undefined ? keepAll(known, tally) : await storeChanges(options, { index, known, tally, clock, signal });
    const { treeId, counts, recorded } = stored;
    if (treeId === emptyTreeId)
      throw new HoldfastError('path_not_found', `${source.paths.join(' ')} shows nothing that could be backed up`);
    const { dataBlobs, treeBlobs, addedBytes, addedPackedBytes } = counts;
    const summary: ArchiveSummary = { ...tally.counts, dataBlobs, treeBlobs, dataAdded: addedBytes, dataAddedPacked: addedPackedBytes };
    const bytes = encodeSnapshot(options, treeId, summary, startedAt, clock.now());
    let written: Promise<ObjectId> | undefined;
    signal.throwIfAborted();
    const snapshotId = await commit(() => (written ??= saveNamedFile(repository, snapshotName, bytes, signal)));
    if (recorded !== undefined) await recordForNext(options, { treeId, recorded, known }, signal);
    const { skipped, skippedCount, warnings } = tally;
    return { snapshotId, treeId, summary, skipped, skippedCount, warnings };
  } finally {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await scanning;
  }
}

interface StoredTree {
  readonly treeId: ObjectId;
  readonly counts: BlobCounts;
  /** For the next backup; undefined when what is recorded already is right. */
  readonly recorded: RecordedFolder | undefined;
}

const noBlobs: BlobCounts = { dataBlobs: 0, treeBlobs: 0, addedBytes: 0, addedPackedBytes: 0, packBytes: 0 };

function keepAll(known: CachedParent | undefined, tally: ArchiveTally): StoredTree {
  invariant(known?.top.isSame === true, 'a source without an index is not the same');
  tally.addSame(known.top.totals);
  tally.report('saving');
  return { treeId: known.top.treeId, counts: noBlobs, recorded: undefined };
}

interface StoreContext {
  readonly index: BlobIndex;
  readonly known: CachedParent | undefined;
  readonly tally: ArchiveTally;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

async function storeChanges(options: ArchiveOptions, { index, known, tally, clock, ...context }: StoreContext): Promise<StoredTree> {
  const { repository, source, compression = 'auto' } = options;
  // Ends the uploads when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  await using borrowed = isThreaded(options) ? await borrowThreads(options) : undefined;
  const { sink, storer, concurrentFiles } = await openStorer(options, { index, compression, clock, signal, pool: borrowed?.pool });
  try {
    const { walkSource } = await import('./archive-walk.ts');
    const walked = await walkSource({
      source,
      index,
      sink,
      loader: createBlobLoader(repository, index),
      storer,
      concurrentFiles,
      ...(options.parent === undefined ? {} : { parentTreeId: options.parent.tree }),
      known: known?.top,
      recordClock: options.statCacheFolder === undefined ? undefined : clock,
      signal,
      onFile: (kind, sizeBytes) => tally.addFile(kind, sizeBytes),
      onDirectory: (kind) => tally.addDirectory(kind),
      onSame: (totals) => tally.addSame(totals),
      onBytes: (bytes) => tally.addBytes(bytes),
      onSkipped: (skipped) => tally.addSkipped(skipped),
      onWarning: (message) => tally.addWarning(message),
    });
    tally.report('saving');
    await sink.finish();
    return { ...walked, counts: sink.counts };
  } finally {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await sink.settle();
  }
}

/** Files in hand at once: enough to fill the threads' batches; each costs the walk a few hundred bytes. */
const filesForThreads = 4096;
/** Two hide the latency of a disk, more than four gain nothing while one thread cuts and seals. */
const filesWithoutThreads = 4;

/** Threads open files by themselves, which only some sources allow. */
function isThreaded({ source, concurrency }: ArchiveOptions): boolean {
  return source.threadOptions !== undefined && concurrency !== 0;
}

// What stores is loaded when there is something to store: half of the time of a backup in which nothing has changed is that of its start.

async function borrowThreads(options: ArchiveOptions): Promise<BorrowedPool> {
  const { borrowPool } = await import('./threads/borrowed-pool.ts');
  return borrowPool(options);
}

interface StorerOptions extends Omit<PackerOptions, 'repository'> {
  readonly pool: ThreadPool | undefined;
}

async function openStorer(
  options: ArchiveOptions,
  { pool, ...rest }: StorerOptions,
): Promise<{ sink: BlobSink; storer: FileStorer; concurrentFiles: number }> {
  const { repository, source } = options;
  if (pool !== undefined) {
    const { ArchiveThreads } = await import('./archive-threads/archive-threads.ts');
    const threads = new ArchiveThreads({ repository, source, pool, ...rest });
    return { sink: threads, storer: threads, concurrentFiles: filesForThreads };
  }
  const [{ createPacker }, { createFileStorer }] = await Promise.all([import('./packer.ts'), import('./file-storer.ts')]);
  const sink = createPacker({ repository, ...rest });
  const storer = createFileStorer({ source, sink, polynomial: repository.chunkerPolynomial });
  return { sink, storer, concurrentFiles: filesWithoutThreads };
}

/** A backup that is done by then needs nobody to count ahead of it. */
const scanDelayMs = 250;

/** Never rejects: a scan that fails leaves the total unknown, and the backup meets the same trouble and reports it. */
async function scanAhead(source: Source, tally: ArchiveTally, clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(scanDelayMs, signal);
    tally.totals = await scanSource(source, signal);
  } catch (error) {
    if (!signal.aborted) tally.addWarning(`the source could not be counted ahead: ${String(error)}`);
  }
}

function encodeSnapshot(options: ArchiveOptions, treeId: ObjectId, summary: ArchiveSummary, startedAt: Date, endedAt: Date): Uint8Array {
  const { parent, source, hostname, username, tags, excludes, programVersion, repository, time = startedAt } = options;
  return encodeSnapshotFile(
    {
      timeNs: nanoseconds(time),
      ...(parent === undefined ? {} : { parent: parent.id }),
      tree: treeId,
      paths: source.paths,
      hostname,
      username,
      ...(excludes === undefined || excludes.length === 0 ? {} : { excludes }),
      ...(tags === undefined || tags.length === 0 ? {} : { tags }),
      ...(programVersion === undefined ? {} : { programVersion }),
      summary: { backupStartNs: nanoseconds(startedAt), backupEndNs: nanoseconds(endedAt), ...summary },
    },
    repository.cipher,
  );
}

function nanoseconds(time: Date): bigint {
  return BigInt(time.getTime()) * 1_000_000n;
}
