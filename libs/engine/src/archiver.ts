import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { SkippedEntry, Source } from '@holdfast/sources/source';
import type { BlobIndex } from './blob-index.ts';
import type { BlobCounts } from './blob-sink.ts';
import { systemClock, type Clock } from './clock.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import { commitSnapshot, type SnapshotOptions } from './commit-snapshot.ts';
import { openIndex } from './load-index.ts';
import { ArchiveTally, type ArchiveSummary } from './archive-tally.ts';
import type { OnProgress } from './progress.ts';
import { compareWithParent, recordForNext, type CachedParent } from './stat-cache/cached-parent.ts';
import type { StatCache } from './stat-cache/stat-cache.ts';
import type { StoredTree } from './stored-tree.ts';
import type { ThreadOptions } from './threads/borrowed-pool.ts';
import type { WarmPool } from './threads/warm-pool.ts';

export interface ArchiveOptions extends LockOptions, ThreadOptions, SnapshotOptions {
  /** Stays the caller's to close. */
  readonly source: Source;
  /** Default auto. With off data is stored as it is; trees and index are compressed all the same. */
  readonly compression?: CompressionMode;
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
  /** Threads that store, and read where the source allows it. Default one a core; 0 for none. */
  readonly concurrency?: number;
  /** With it the next backup of the same source needs to read only what has changed since this one. By default there is none. */
  readonly statCache?: StatCache | undefined;
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

/** What is done while the lock settles. */
interface Prepared {
  readonly startedAt: Date;
  readonly tally: ArchiveTally;
  /** The parent's folders, compared with the source; undefined without a stat cache that fits. */
  readonly known: CachedParent | undefined;
  /** Undefined when nothing at all has changed: then nobody asks for a blob. */
  readonly index: BlobIndex | undefined;
  /** Threads that start already. */
  readonly warmed: WarmPool | undefined;
  /** Present when so little has changed that all of it is in memory, sealed. */
  readonly stored?: StoredTree;
}

async function prepare(options: ArchiveOptions, signal: AbortSignal): Promise<Prepared> {
  const { clock = systemClock } = options;
  const startedAt = clock.now();
  const tally = new ArchiveTally(options);
  tally.report('opening');
  options.source.prepare?.(signal);
  const warmed = await warmThreads(options, signal);
  const known = await compareWithParent(options, signal);
  const begun = { startedAt, tally, known, warmed };
  if (known?.top.isSame === true) return { ...begun, index: undefined };
  const index = await openIndex(options.repository, { signal });
  if (!isLittleChange(known)) return { ...begun, index };
  const { storeTree } = await import('./store-tree.ts');
  const stored = await storeTree(options, { index, known, tally, clock, signal, isLittle: true });
  return { ...begun, index, stored };
}

/** Of a source that has so much and that only one thread can read, threads will have something to store. */
const muchBytes = 64 * 1024 * 1024;

/** Undefined where it is not known yet whether there is something for them to do. */
async function warmThreads(options: ArchiveOptions, signal: AbortSignal): Promise<WarmPool | undefined> {
  const { source, concurrency } = options;
  if (source.prepare === undefined || source.threadOptions !== undefined || concurrency === 0) return undefined;
  const { bytes = 0 } = (await source.estimate?.({ signal })) ?? {};
  if (bytes < muchBytes) return undefined;
  const [{ warmPool }, { archiveModule }] = await Promise.all([
    import('./threads/warm-pool.ts'),
    import('./archive-threads/archive-threads.ts'),
  ]);
  return warmPool(options, archiveModule, signal);
}

/** Changes that one thread stores faster than others begin to work, and that fill no pack: nothing of them is uploaded before the end. */
const littleChange = { entries: 2048, bytes: 8 * 1024 * 1024 };

function isLittleChange(known: CachedParent | undefined): boolean {
  if (known === undefined) return false;
  const { changedCount, changedBytes, unlistedCount } = known.top.compared;
  return unlistedCount === 0 && changedCount <= littleChange.entries && changedBytes <= littleChange.bytes;
}

async function archiveLocked(given: ArchiveOptions, prepared: Prepared, outerSignal: AbortSignal): Promise<ArchiveResult> {
  await using warmed = prepared.warmed;
  warmed?.keep();
  const options = warmed === undefined ? given : { ...given, pool: warmed.pool };
  const { source, clock = systemClock } = options;
  const { startedAt, tally, known } = prepared;
  // Ends the scan when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([outerSignal, ended.signal]);
  const scanning = tally.needsScan ? scanAhead(source, tally, clock, signal) : Promise.resolve();
  let stored: StoredTree | undefined;
  try {
    stored = await treeOf(options, prepared, { clock, signal });
    const result = await commitSnapshot({ ...options, paths: source.paths }, stored, { startedAt, tally, clock, signal });
    const { treeId, recorded } = stored;
    if (recorded !== undefined) await recordForNext(options, { treeId, recorded, known }, signal);
    return result;
  } finally {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await scanning;
    await stored?.close();
  }
}

async function treeOf(
  options: ArchiveOptions,
  { tally, known, index, stored }: Prepared,
  context: { clock: Clock; signal: AbortSignal },
): Promise<StoredTree> {
  if (stored !== undefined) return stored;
  if (index === undefined) return keepAll(known, tally);
  // What stores is loaded when there is something to store: a backup in which nothing has changed takes little longer than its start.
  const { storeTree } = await import('./store-tree.ts');
  return await storeTree(options, { index, known, tally, ...context, isLittle: false });
}

const noBlobs: BlobCounts = { dataBlobs: 0, treeBlobs: 0, addedBytes: 0, addedPackedBytes: 0, packBytes: 0 };

const doNothing = async (): Promise<void> => {};

function keepAll(known: CachedParent | undefined, tally: ArchiveTally): StoredTree {
  invariant(known?.top.isSame === true, 'a source without an index is not the same');
  tally.addSame(known.top.totals);
  return { treeId: known.top.treeId, counts: noBlobs, recorded: undefined, finish: doNothing, close: doNothing };
}

/** A backup that is done by then needs nobody to count ahead of it. */
const scanDelayMs = 250;

/** Never rejects: a scan that fails leaves the total unknown, and the backup meets the same trouble and reports it. */
async function scanAhead(source: Source, tally: ArchiveTally, clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(scanDelayMs, signal);
    const { scanSource } = await import('./scan.ts');
    tally.totals = await scanSource(source, signal);
  } catch (error) {
    if (!signal.aborted) tally.addWarning(`the source could not be counted ahead: ${String(error)}`);
  }
}
