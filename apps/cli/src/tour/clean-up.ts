import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { z } from 'zod';
import { formatBytes } from '../format-amount.ts';
import { backupRunSchema, detailedRunSchema, pageOf, runSchema } from './api-answers.ts';
import { requireCompleted } from './back-up.ts';
import type { FirstBackup, StepOutcome, TourContext } from './tour-context.ts';

const detailsSchema = z.looseObject({ bytesFreed: z.number().optional(), snapshotsForgotten: z.number().optional() });

/** Forget and prune by the retention of the config: the tour's backups are young, so both must still be there afterwards. */
export async function cleanUp(context: TourContext, backup: FirstBackup): Promise<StepOutcome> {
  const accepted = await context.client.post('/maintenance/cleanup', { businessEntityId: context.entityId }, pageOf(runSchema));
  const [first] = accepted.items;
  if (first === undefined) throw new HoldfastError('not_found', 'the cleanup found no repository of the entity');
  let freedBytes = 0;
  let forgottenCount = 0;
  for (const { id } of accepted.items) {
    const run = await context.follower.follow(
      id,
      async () => {
        const page = await context.client.get(`/maintenance/cleanup?entityId=${context.entityId}`, pageOf(detailedRunSchema));
        const row = page.items.find((item) => item.id === id);
        invariant(row !== undefined, `cleanup ${id} is not in the list of its entity`);
        return row;
      },
      context.showProgress,
    );
    requireCompleted(run);
    const parsed = detailsSchema.safeParse(run.details).data;
    freedBytes += parsed?.bytesFreed ?? 0;
    forgottenCount += parsed?.snapshotsForgotten ?? 0;
  }
  const kept = await context.client.get(`/jobs/${backup.run.id}`, backupRunSchema);
  invariant(kept.snapshotId === backup.run.snapshotId, 'the cleanup removed a backup that retention keeps');
  return {
    amount: `${formatBytes(freedBytes)} freed`,
    detail: `${forgottenCount} snapshots forgotten; what retention keeps is still there`,
  };
}
