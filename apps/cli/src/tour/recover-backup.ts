import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatCount, formatDuration } from '../format-amount.ts';
import { recoveryRunSchema, runSchema, type Run } from './api-answers.ts';
import { amountOf, requireCompleted } from './back-up.ts';
import { compareRecovered, type Comparison } from './compare-recovered.ts';
import { listTree, type TreeListing } from './list-tree.ts';
import type { FirstBackup, StepOutcome, TourContext } from './tour-context.ts';

const shownDifferences = 5;
/** A part of the checkout that every clone has. */
const selectedFolder = 'libs';

/** Recovers everything and holds it against the source. */
export async function recoverFully(context: TourContext, backup: FirstBackup): Promise<StepOutcome> {
  const target = join(context.targetFolder, 'full');
  const run = await runRecovery(context, { backupJobId: backup.run.id, recoveryType: 'full', targetLocation: target });
  const recovered = await listTree(join(target, context.sourceFolder), { hash: true, signal: context.signal });
  return outcomeOf(compareRecovered(backup.before, backup.after, recovered), run, target);
}

/** Recovers one folder and holds it against the source; nothing else may have come with it. */
export async function recoverSelectively(context: TourContext, backup: FirstBackup): Promise<StepOutcome> {
  const target = join(context.targetFolder, 'selective');
  const paths = [join(context.sourceFolder, selectedFolder)];
  const run = await runRecovery(context, { backupJobId: backup.run.id, recoveryType: 'selective', targetLocation: target, paths });
  const recovered = await listTree(join(target, context.sourceFolder), { hash: true, signal: context.signal });
  const others = [...recovered.keys()].filter((path) => path !== '' && !isSelected(path));
  if (others.length > 0) {
    throw new HoldfastError('conflict', `the selective recovery also brought back ${others.slice(0, shownDifferences).join(', ')}`);
  }
  const comparison = compareRecovered(selected(backup.before), selected(backup.after), selected(recovered));
  return outcomeOf(comparison, run, join(target, context.sourceFolder, selectedFolder));
}

async function runRecovery(context: TourContext, body: object): Promise<Run> {
  const accepted = await context.client.post('/recovery', body, runSchema);
  const read = () => context.client.get(`/recovery/${accepted.id}`, recoveryRunSchema);
  const run = await context.follower.follow(accepted.id, read, context.showProgress);
  requireCompleted(run);
  return run;
}

function outcomeOf(comparison: Comparison, run: Run, where: string): StepOutcome {
  if (comparison.differences.length > 0) {
    const shown = comparison.differences.slice(0, shownDifferences).join('; ');
    throw new HoldfastError('repository_damaged', `${comparison.differences.length} differences to the source: ${shown}`, {
      hint: `compare ${where} with the source`,
    });
  }
  if (comparison.fileCount === 0) throw new HoldfastError('repository_damaged', `nothing was recovered to ${where}`);
  const moved =
    comparison.changedMeanwhileCount === 0
      ? ''
      : `; ${formatCount(comparison.changedMeanwhileCount)} changed during the backup and were not judged`;
  return {
    amount: amountOf(comparison.bytes, comparison.fileCount),
    detail: `recovered in ${formatDuration(run.duration ?? 0)}, then compared: identical to the source in content, mode and time${moved}`,
  };
}

function isSelected(path: string): boolean {
  return path === selectedFolder || path.startsWith(`${selectedFolder}/`);
}

function selected(listing: TreeListing): TreeListing {
  return new Map([...listing].filter(([path]) => isSelected(path)));
}
