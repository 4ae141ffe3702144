import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { SkippedEntry, Source } from '@holdfast/sources/source';
import type { Lock, LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
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
  throw new HoldfastError('internal', `not written yet: ${options.repository.id}`);
}
