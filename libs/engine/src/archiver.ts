import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import { snapshotName } from '@holdfast/restic-format/layout';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { encodeTree } from '@holdfast/restic-format/tree';
import type { SkippedEntry, Source } from '@holdfast/sources/source';
import { ArchiveThreads } from './archive-threads/archive-threads.ts';
import { walkSource } from './archive-walk.ts';
import type { BlobIndex } from './blob-index.ts';
import { createBlobLoader } from './blob-loader.ts';
import type { BlobSink } from './blob-sink.ts';
import { systemClock, type Clock } from './clock.ts';
import { createFileStorer, type FileStorer } from './file-storer.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import { openIndex } from './load-index.ts';
import { ArchiveTally, type ArchiveSummary } from './archive-tally.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker, type PackerOptions } from './packer.ts';

import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { scanSource } from './scan.ts';
import type { Snapshot } from './snapshots.ts';
import { borrowPool, type ThreadOptions } from './threads/borrowed-pool.ts';
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
    (signal) => openIndex(options.repository, { signal }),
    (index, signal) => archiveLocked(options, index, signal),
  );
}

/** A backup of nothing is a mistake in its paths, not a success. */
const emptyTreeId = hashOf(encodeTree([]));

async function archiveLocked(options: ArchiveOptions, index: BlobIndex, outerSignal: AbortSignal): Promise<ArchiveResult> {
  const { repository, source, clock = systemClock, compression = 'auto', commit = (write) => write() } = options;
  // Ends the scan and the uploads when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([outerSignal, ended.signal]);
  const startedAt = clock.now();
  const tally = new ArchiveTally(options);
  tally.report('opening');
  await using borrowed = isThreaded(options) ? borrowPool(options) : undefined;
  const { sink, storer, concurrentFiles } = openStorer(options, { index, compression, clock, signal, pool: borrowed?.pool });
  const scanning = tally.needsScan ? scanAhead(source, tally, clock, signal) : Promise.resolve();
  try {
    const treeId = await walkSource({
      source,
      index,
      sink,
      loader: createBlobLoader(repository, index),
      storer,
      concurrentFiles,
      ...(options.parent === undefined ? {} : { parentTreeId: options.parent.tree }),
      signal,
      onFile: (kind, sizeBytes) => tally.addFile(kind, sizeBytes),
      onDirectory: (kind) => tally.addDirectory(kind),
      onBytes: (bytes) => tally.addBytes(bytes),
      onSkipped: (skipped) => tally.addSkipped(skipped),
      onWarning: (message) => tally.addWarning(message),
    });
    if (treeId === emptyTreeId)
      throw new HoldfastError('path_not_found', `${source.paths.join(' ')} shows nothing that could be backed up`);
    tally.report('saving');
    await sink.finish();
    const { dataBlobs, treeBlobs, addedBytes, addedPackedBytes } = sink.counts;
    const summary: ArchiveSummary = { ...tally.counts, dataBlobs, treeBlobs, dataAdded: addedBytes, dataAddedPacked: addedPackedBytes };
    const bytes = encodeSnapshot(options, treeId, summary, startedAt, clock.now());
    let written: Promise<ObjectId> | undefined;
    signal.throwIfAborted();
    const snapshotId = await commit(() => (written ??= saveNamedFile(repository, snapshotName, bytes, signal)));
    const { skipped, skippedCount, warnings } = tally;
    return { snapshotId, treeId, summary, skipped, skippedCount, warnings };
  } finally {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await scanning;
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

interface StorerOptions extends Omit<PackerOptions, 'repository'> {
  readonly pool: ThreadPool | undefined;
}

function openStorer(
  options: ArchiveOptions,
  { pool, ...rest }: StorerOptions,
): { sink: BlobSink; storer: FileStorer; concurrentFiles: number } {
  const { repository, source } = options;
  if (pool !== undefined) {
    const threads = new ArchiveThreads({ repository, source, pool, ...rest });
    return { sink: threads, storer: threads, concurrentFiles: filesForThreads };
  }
  const sink = createPacker({ repository, ...rest });
  const storer = createFileStorer({ source, sink, polynomial: repository.chunkerPolynomial });
  return { sink, storer, concurrentFiles: source.concurrentFiles ?? filesWithoutThreads };
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
