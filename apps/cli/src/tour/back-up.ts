import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { knownErrorCode } from '../problem-error.ts';
import { formatBytes, formatCount } from '../format-amount.ts';
import { backupRunSchema, runSchema, type BackupRun, type Run } from './api-answers.ts';
import { listTree, type TreeListing } from './list-tree.ts';
import { isLeftOut } from './set-up-demo.ts';
import type { FirstBackup, StepOutcome, TourContext } from './tour-context.ts';

/** Git ignores `*.log`, so a tour that is broken off leaves a clean work tree. */
const scratchFile = 'holdfast-tour.log';
/** Random, so that nothing of it is in the repository yet; small against the rest. */
const scratchSizeBytes = 64 * 1024;

/** What is there to be backed up, hashed, so that every recovery can be held against it later. */
export async function listSource(context: TourContext): Promise<StepOutcome & { readonly listing: TreeListing }> {
  const listing = await listTree(context.sourceFolder, { hash: true, isExcluded: isLeftOut(context), signal: context.signal });
  return { listing, amount: amountOf(sizeBytesOf(listing), countFiles(listing)), detail: 'hashed, to compare what is recovered' };
}

/** The first backup; `before` lists the source as it was before it. */
export async function makeFirstBackup(context: TourContext, before: TreeListing): Promise<StepOutcome & { readonly backup: FirstBackup }> {
  const run = await runBackup(context);
  const after = await listTree(context.sourceFolder, { hash: false, isExcluded: isLeftOut(context), signal: context.signal });
  invariant(run.snapshotId !== null, `backup ${run.id} is completed and names no snapshot`);
  const fileCount = countFiles(after);
  return {
    backup: { run, before, after },
    amount: amountOf(run.fileSize ?? 0, fileCount),
    detail: `snapshot ${run.snapshotId.slice(0, 8)}, ${formatBytes(await repositorySizeBytes(context))} in the repository`,
  };
}

/** One more backup after a small file was added: shows what deduplication saves. */
export async function makeSecondBackup(context: TourContext): Promise<StepOutcome> {
  const scratch = join(context.sourceFolder, scratchFile);
  const sizeBefore = await repositorySizeBytes(context);
  try {
    await writeFile(scratch, randomBytes(scratchSizeBytes / 2).toString('hex'));
    const run = await runBackup(context);
    const addedBytes = (await repositorySizeBytes(context)) - sizeBefore;
    const totalBytes = run.fileSize ?? 0;
    // Rounded down: all but a little is not all.
    const savedPercent = totalBytes === 0 ? 0 : Math.floor(10_000 * (1 - addedBytes / totalBytes)) / 100;
    return {
      amount: formatBytes(totalBytes),
      detail: `one file of ${formatBytes(scratchSizeBytes)} added: the repository grew by ${formatBytes(addedBytes)}, deduplication saved ${savedPercent.toFixed(2)}%`,
    };
  } finally {
    await rm(scratch, { force: true });
  }
}

/** Throws what ended the run when it did not complete. */
export function requireCompleted(run: Run): void {
  if (run.status === 'completed' || run.status === 'completed_with_warnings') return;
  throw new HoldfastError(
    knownErrorCode(run.errorCode ?? 'run_cancelled'),
    `run ${run.id} is ${run.status}: ${run.errorMessage ?? 'on request'}`,
  );
}

export function amountOf(bytes: number, fileCount: number): string {
  return `${formatBytes(bytes)}, ${formatCount(fileCount)} files`;
}

async function runBackup(context: TourContext): Promise<BackupRun> {
  const accepted = await context.client.post('/jobs', { backupConfigId: context.config.id }, runSchema);
  const run = await context.follower.follow(
    accepted.id,
    () => context.client.get(`/jobs/${accepted.id}`, backupRunSchema),
    context.showProgress,
  );
  requireCompleted(run);
  return run;
}

/** Seen from outside, so that the number owes nothing to what the engine says of itself. */
async function repositorySizeBytes(context: TourContext): Promise<number> {
  const listing = await listTree(context.repositoryFolder, { hash: false, signal: context.signal });
  return sizeBytesOf(listing);
}

function sizeBytesOf(listing: TreeListing): number {
  return [...listing.values()].reduce((sum, entry) => sum + (entry.type === 'file' ? Number(entry.sizeBytes) : 0), 0);
}

function countFiles(listing: TreeListing): number {
  return [...listing.values()].filter((entry) => entry.type === 'file').length;
}
