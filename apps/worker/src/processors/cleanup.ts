import { markBackupsExpired } from '@holdfast/database/backup-jobs';
import { findCleanupWork } from '@holdfast/database/cleanup-jobs';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import { forget } from '@holdfast/engine/forget';
import { acquireLock } from '@holdfast/engine/lock';
import { prune } from '@holdfast/engine/pruner';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { isSweepable } from '@holdfast/storage/sweep';
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

  await using repository = await openRepositoryOf(run, work.repository, { create: false, warm: false });
  await using lock = await acquireLock(repository, { ...lockOptionsOf(run), exclusive: true });
  const common = { ...lockOptionsOf(run), repository, lock, signal: AbortSignal.any([signal, lock.lost]) };
  const snapshots = await listSnapshots(repository, { signal });
  const expired = await selectExpired(context.database.client, work.repositoryId, snapshots, context.clock.now());

  if (!work.dryRun && expired.length > 0) {
    const now = context.clock.now();
    await commitUnderFence(context.database, claim, (tx) => markBackupsExpired(tx, work.repositoryId, expired, now));
    await forget({ ...common, snapshotIds: expired });
  }
  const pruned = await prune({ ...common, dryRun: work.dryRun, onProgress });
  const { storage } = repository;
  const sweepBefore = new Date(context.clock.now().getTime() - temporariesKeptMs);
  const temporariesSwept = work.dryRun || !isSweepable(storage) ? 0 : await storage.sweep(sweepBefore, { signal });
  const counts = { temporariesSwept, snapshotsForgotten: expired.length, snapshotIds: expired.slice(0, maxListed) };
  return { status: 'completed', result: { details: { ...counts, ...pruned } } };
}
