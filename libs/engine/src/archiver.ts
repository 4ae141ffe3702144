import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { snapshotName } from '@holdfast/restic-format/layout';
import { encodeSnapshotFile } from '@holdfast/restic-format/snapshot-file';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { SkippedEntry, Source } from '@holdfast/sources/source';
import { walkSource } from './archive-walk.ts';
import { createBlobLoader } from './blob-loader.ts';
import { systemClock } from './clock.ts';
import { createFileStorer } from './file-storer.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { loadIndex } from './load-index.ts';
import { saveNamedFile } from './named-file.ts';
import { createPacker } from './packer.ts';

import type { EnginePhase, OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { scanSource } from './scan.ts';
import type { Snapshot } from './snapshots.ts';

export interface ArchiveOptions extends LockOptions {
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
  /** Default true. False stores data as it is; trees and index are compressed all the same. */
  readonly compression?: boolean;
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
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

/** The counts that restic ≥ 0.17 notes in its snapshots; sizes in bytes. `Packed` is as stored: compressed and sealed. */
export interface ArchiveSummary {
  readonly filesNew: number;
  readonly filesChanged: number;
  readonly filesUnmodified: number;
  readonly dirsNew: number;
  readonly dirsChanged: number;
  readonly dirsUnmodified: number;
  readonly dataBlobs: number;
  readonly treeBlobs: number;
  readonly dataAdded: number;
  readonly dataAddedPacked: number;
  readonly totalFilesProcessed: number;
  readonly totalBytesProcessed: number;
}

/**
 * Backs the source up into the repository: packs, then index, then the snapshot. What changes, shrinks or vanishes meanwhile is
 * stored as read or listed as skipped. When it throws or is aborted no snapshot is there; what was uploaded is found by the next
 * attempt, or removed by prune. An abort ends it within a second with the signal's reason.
 * Errors: repository_locked, those of the storage, path_not_found and path_not_readable for the source's top.
 */
export async function archive(options: ArchiveOptions): Promise<ArchiveResult> {
  return await withLock({ ...options, exclusive: false }, (signal) => archiveLocked(options, signal));
}

/** The list of what was skipped is for people; the count tells the rest. */
export const maxSkippedListed = 1000;
const maxWarningsListed = 100;

type Counts = { -readonly [Name in keyof ArchiveSummary]: number };

/** What one run has seen and done so far. */
class ArchiveRun {
  readonly counts: Counts = {
    filesNew: 0,
    filesChanged: 0,
    filesUnmodified: 0,
    dirsNew: 0,
    dirsChanged: 0,
    dirsUnmodified: 0,
    dataBlobs: 0,
    treeBlobs: 0,
    dataAdded: 0,
    dataAddedPacked: 0,
    totalFilesProcessed: 0,
    totalBytesProcessed: 0,
  };
  readonly skipped: SkippedEntry[] = [];
  skippedCount = 0;
  readonly warnings: string[] = [];
  #bytesDone = 0;
  #totals: { files: number; bytes: number } | null;
  readonly #onProgress: OnProgress;

  constructor({ parent, onProgress = () => {} }: ArchiveOptions) {
    // The parent's size is a good guess of this one's, and costs nothing; without one the source is counted ahead.
    const before = parent?.summary;
    this.#totals = before === undefined ? null : { files: before.totalFilesProcessed, bytes: before.totalBytesProcessed };
    this.#onProgress = onProgress;
  }

  get needsScan(): boolean {
    return this.#totals === null;
  }

  set totals(totals: { files: number; bytes: number }) {
    this.#totals = totals;
    this.report('reading');
  }

  addFile(kind: 'new' | 'changed' | 'unmodified', sizeBytes: number): void {
    this.counts[kind === 'new' ? 'filesNew' : kind === 'changed' ? 'filesChanged' : 'filesUnmodified']++;
    this.counts.totalFilesProcessed++;
    this.counts.totalBytesProcessed += sizeBytes;
    this.report('reading');
  }

  addDirectory(kind: 'new' | 'changed' | 'unmodified'): void {
    this.counts[kind === 'new' ? 'dirsNew' : kind === 'changed' ? 'dirsChanged' : 'dirsUnmodified']++;
  }

  addBytes(bytes: number): void {
    this.#bytesDone += bytes;
    this.report('reading');
  }

  addSkipped(skipped: SkippedEntry): void {
    this.skippedCount++;
    if (this.skipped.length < maxSkippedListed) this.skipped.push(skipped);
  }

  addWarning(message: string): void {
    if (this.warnings.length < maxWarningsListed) this.warnings.push(message);
  }

  report(phase: EnginePhase): void {
    const filesDone = this.counts.totalFilesProcessed;
    const bytesDone = this.#bytesDone;
    // A guess that turns out too small grows: never more done than there is.
    const filesTotal = this.#totals === null ? null : Math.max(filesDone, this.#totals.files);
    const bytesTotal = this.#totals === null ? null : Math.max(bytesDone, this.#totals.bytes);
    this.#onProgress({ phase, filesDone, filesTotal, bytesDone, bytesTotal });
  }
}

async function archiveLocked(options: ArchiveOptions, outerSignal: AbortSignal): Promise<ArchiveResult> {
  const { repository, source, clock = systemClock, compression = true, commit = (write) => write() } = options;
  // Ends the scan and the uploads when the walk fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([outerSignal, ended.signal]);
  const startedAt = clock.now();
  const run = new ArchiveRun(options);
  run.report('opening');
  const { index } = await loadIndex(repository, { signal });
  const sink = createPacker({ repository, index, compression, clock, signal });
  const scanning = run.needsScan ? scanAhead(source, run, signal) : Promise.resolve();
  try {
    const treeId = await walkSource({
      source,
      index,
      sink,
      loader: createBlobLoader(repository, index),
      storer: createFileStorer({ source, sink, polynomial: repository.chunkerPolynomial }),
      ...(options.parent === undefined ? {} : { parentTreeId: options.parent.tree }),
      signal,
      onFile: (kind, sizeBytes) => run.addFile(kind, sizeBytes),
      onDirectory: (kind) => run.addDirectory(kind),
      onBytes: (bytes) => run.addBytes(bytes),
      onSkipped: (skipped) => run.addSkipped(skipped),
      onWarning: (message) => run.addWarning(message),
    });
    run.report('saving');
    await sink.finish();
    const { dataBlobs, treeBlobs, addedBytes, addedPackedBytes } = sink.counts;
    const summary: ArchiveSummary = { ...run.counts, dataBlobs, treeBlobs, dataAdded: addedBytes, dataAddedPacked: addedPackedBytes };
    const bytes = encodeSnapshot(options, treeId, summary, startedAt, clock.now());
    let written: Promise<ObjectId> | undefined;
    signal.throwIfAborted();
    const snapshotId = await commit(() => (written ??= saveNamedFile(repository, snapshotName, bytes, signal)));
    const { skipped, skippedCount, warnings } = run;
    return { snapshotId, treeId, summary, skipped, skippedCount, warnings };
  } finally {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await scanning;
    await sink.settle();
  }
}

/** Never rejects: a scan that fails leaves the total unknown, and the backup meets the same trouble and reports it. */
async function scanAhead(source: Source, run: ArchiveRun, signal: AbortSignal): Promise<void> {
  try {
    run.totals = await scanSource(source, signal);
  } catch (error) {
    if (!signal.aborted) run.addWarning(`the source could not be counted ahead: ${String(error)}`);
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
