import type { ObjectId } from '@holdfast/restic-format/object-id';
import { checkModule } from './check-packs.ts';
import { CheckRun } from './check-run.ts';
import { assertSubset, type CheckSubset } from './check-subset.ts';
import type { Finding } from './finding.ts';
import { withSharedLock, type Lock, type LockOptions } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { Repository } from './repository.ts';
import { borrowPool, type ThreadOptions } from './threads/borrowed-pool.ts';
import type { ThreadPool } from './threads/thread-pool.ts';

/**
 * - `integrity`: every tree of every snapshot walked and hashed, every blob that they name in the index, every indexed pack there
 *   with its right size. Reads trees only.
 * - `checksum`: every pack, index, snapshot and key file hashed against its name, every blob unsealed, unpacked and hashed.
 * - `full`: both, with one reading of everything.
 */
export type CheckLevel = 'checksum' | 'integrity' | 'full';

export interface CheckOptions extends LockOptions, ThreadOptions {
  readonly repository: Repository;
  readonly level: CheckLevel;
  /** Only what these snapshots need. Default: the whole repository. */
  readonly snapshotIds?: readonly ObjectId[];
  /** Only so many of the packs are read. Default: all. The structure is checked as a whole, where the level asks for it. */
  readonly subset?: CheckSubset;
  /** From 0 up to 1, for a subset that is chosen at random. */
  readonly random?: () => number;
  /** A lock that the caller holds already; by default a shared one is taken for the call. */
  readonly lock?: Lock;
  readonly onProgress?: OnProgress;
}

export interface CheckResult {
  /** At most maxFindingsListed of them, damage first; findingCount counts all. Empty means that all is well. */
  readonly findings: readonly Finding[];
  readonly findingCount: number;
  readonly damageCount: number;
  readonly snapshotsChecked: number;
  readonly packsChecked: number;
  readonly treesChecked: number;
  readonly blobsChecked: number;
  readonly bytesRead: number;
}

/**
 * Looks for damage. What it finds is in the result, never thrown, be it in a pack, an index, a snapshot or a key file.
 * Errors: request_invalid (a subset that cannot be), repository_locked, storage_unreachable, storage_denied.
 */
export async function check(options: CheckOptions): Promise<CheckResult> {
  if (options.subset !== undefined) assertSubset(options.subset);
  await using borrowed = borrowPool(options);
  const { pool } = borrowed;
  // Such a storage is mostly one with something in it: the threads start while the lock is written.
  if (options.level !== 'integrity' && options.repository.storage.threadOptions !== undefined) warmCheck(pool);
  // All of it reads only, so that it need not wait until the lock has settled.
  return await withSharedLock(
    options,
    (signal) => new CheckRun(options, pool, signal).run(),
    async (result) => result,
  );
}

/** Starts the threads of a pool for a check that comes soon, while the repository is opened perhaps. */
export function warmCheck(pool: ThreadPool): void {
  pool.warm(checkModule);
}
