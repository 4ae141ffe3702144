import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Lock, LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';

export interface PruneOptions extends LockOptions {
  readonly repository: Repository;
  /** How much of the repository may stay unused rather than be repacked; default 5, as restic. 0 repacks everything. */
  readonly maxUnusedPercent?: number;
  /** Only says what would be done. */
  readonly dryRun?: boolean;
  /** An exclusive lock that the caller holds already (to forget and prune in one go); by default one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface PruneResult {
  readonly dryRun: boolean;
  readonly packsKept: number;
  readonly packsRepacked: number;
  /** Without one used blob, or in no index. */
  readonly packsDeleted: number;
  readonly blobsRemoved: number;
  /** Pack bytes before and after; `bytesFreed` is their difference. A dry run estimates. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly bytesFreed: number;
  readonly bytesUnusedKept: number;
  readonly indexFilesDeleted: number;
}

/**
 * Removes what no snapshot needs. New packs, then a new index, then the old index goes, then the old packs: a crash anywhere is
 * harmless and the next prune goes on. Nothing is deleted when a snapshot cannot be followed to its last blob.
 * Errors: repository_locked, repository_damaged, those of the storage.
 */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  throw new HoldfastError('internal', `not written yet: ${options.repository.id}`);
}
