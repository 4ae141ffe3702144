import { markBackupsExpired } from '@holdfast/database/backup-jobs';
import { findCleanupWork } from '@holdfast/database/cleanup-jobs';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import { forget, findHeldSnapshots } from '@holdfast/engine/forget';
import { joinHeld, type HeldObjects } from '@holdfast/engine/held-objects';
import { acquireLock } from '@holdfast/engine/lock';
import { prune } from '@holdfast/engine/pruner';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { trialFolder } from '@holdfast/storage/object-name';
import { parseStorageOptions } from '@holdfast/storage/storage-options';
import type { Storage } from '@holdfast/storage/storage';
import { isSweepable } from '@holdfast/storage/sweep';
import { appendOnlyError } from '@holdfast/storage/wrappers/append-only-storage';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { selectExpired } from '../select-expired.ts';

/** Longest list of snapshots in a row's details. */
const maxListed = 100;
/** By then no put can still be under way that began before. */
const temporariesKeptMs = 24 * 60 * 60 * 1000;

/**
 * Forgets what the retention of the repository's configs (deleted ones too) no longer keeps, then prunes, all under one exclusive
 * lock. Rows are told before snapshots go: a crash between leaves a snapshot without a backup, which the next cleanup takes, never
 * a backup without its snapshot.
 */
export async function processCleanup(run: RunInHand<'cleanup'>): Promise<RunOutcome<'cleanup'>> {
  const { context, claim, signal, onProgress } = run;
  const work = await findCleanupWork(context.database.client, claim.id);
  // A repository that no backup was ever written to has nothing to clean.
  if (work.repository.resticId === null)
    return { status: 'completed', result: { details: { dryRun: work.dryRun, snapshotsForgotten: 0 } } };

  const { type, appendOnly } = parseStorageOptions(work.repository.storageOptions);
  if (appendOnly === true && !work.dryRun) throw appendOnlyError('the repository', 'nothing was removed');

  await using repository = await openRepositoryOf(run, work.repository, { create: false, warm: false });
  await using lock = await acquireLock(repository, { ...lockOptionsOf(run), exclusive: true });
  const common = { ...lockOptionsOf(run), repository, lock, signal: AbortSignal.any([signal, lock.lost]) };
  // In a folder who may write may delete.
  if (!work.dryRun && type !== 'local') await assertMayDelete(repository.storage, signal);
  const snapshots = await listSnapshots(repository, { signal });
  const expired = await selectExpired(context.database.client, work.repositoryId, snapshots, context.clock.now());
  // A backup whose snapshot is held can be recovered until it goes, and so what it builds on stays too.
  const { heldIds, held } = await findHeldSnapshots(repository, expired, signal);
  const free =
    heldIds.length === 0
      ? expired
      : await selectExpired(context.database.client, work.repositoryId, snapshots, context.clock.now(), heldIds);

  let refused: HeldObjects | undefined;
  if (!work.dryRun && free.length > 0) {
    const now = context.clock.now();
    await commitUnderFence(context.database, claim, (tx) => markBackupsExpired(tx, work.repositoryId, free, now));
    refused = (await forget({ ...common, snapshotIds: free })).held;
  }
  const pruned = await prune({ ...common, dryRun: work.dryRun, expiredIds: expired, onProgress });
  const heldInAll = joinHeld(joinHeld(held, refused), pruned.held);
  const { storage } = repository;
  const sweepBefore = new Date(context.clock.now().getTime() - temporariesKeptMs);
  const temporariesSwept = work.dryRun || !isSweepable(storage) ? 0 : await storage.sweep(sweepBefore, { signal });
  const forgottenCount = free.length - (refused?.snapshotCount ?? 0);
  const counts = { temporariesSwept, snapshotsForgotten: forgottenCount, snapshotIds: free.slice(0, maxListed) };
  const details = { ...counts, ...pruned, ...(heldInAll === undefined ? {} : { held: { ...heldInAll } }) };
  // That objects are held until a known time is what their owner asked for; one that is held for good may want a person.
  const status = (heldInAll?.endUnknownCount ?? 0) > 0 ? 'completed_with_warnings' : 'completed';
  return { status, result: { details } };
}

/**
 * Deletes a small object of no repository, put there for it: credentials that may only add are found out before a row says that a backup
 * has gone and its snapshot stays. Where they may not, the object stays, once. A storage that takes no more is cleaned up all the same.
 */
async function assertMayDelete(storage: Storage, signal: AbortSignal): Promise<void> {
  try {
    await storage.put(probeName, Buffer.from('deleted before a cleanup'), { signal });
  } catch (error) {
    if (isHoldfastError(error, 'storage_full')) return;
    if (!isHoldfastError(error, 'storage_object_exists')) throw error;
  }
  try {
    await storage.delete(probeName, { signal });
  } catch (error) {
    if (!isHoldfastError(error, 'storage_denied')) throw error;
    throw new HoldfastError('storage_denied', `nothing was removed: the credentials may not delete at ${storage.location}`, {
      cause: error,
      context: { location: storage.location },
      hint: 'give the repository credentials that may delete for the time of a cleanup, or clean up elsewhere with such credentials',
    });
  }
}

const probeName = `${trialFolder}cleanup`;
