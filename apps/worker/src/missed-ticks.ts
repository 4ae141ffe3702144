import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { previousTick } from '@holdfast/policy/schedule';
import { scheduleBackup } from './processors/schedule.ts';
import type { WorkerContext } from './worker-context.ts';

/** A tick this old was missed: a scheduler's own comes within seconds. */
const missedAfterMs = 60_000;

/**
 * Makes the backup of the last tick of each config when no row answers it: all workers were down, or the queue was wiped just
 * then. One backup makes up for any number of missed ticks. A config that was made or changed after the tick did not miss it.
 */
export async function makeUpMissedTicks(context: WorkerContext): Promise<void> {
  const { database, clock, logger } = context;
  const configs = await database.client.backupConfig.findMany({
    where: { isActive: true, deletedAt: null, schedule: { not: null } },
    select: { id: true, schedule: true, timeZone: true, updatedAt: true },
  });
  const newest = await database.client.backupJob.findMany({
    where: { backupConfigId: { in: configs.map((config) => config.id) }, scheduledFor: { not: null } },
    distinct: ['backupConfigId'],
    orderBy: [{ backupConfigId: 'asc' }, { scheduledFor: 'desc' }],
    select: { backupConfigId: true, scheduledFor: true },
  });
  const newestOf = new Map(newest.map((job) => [job.backupConfigId, job.scheduledFor]));
  const latest = new Date(clock.now().getTime() - missedAfterMs);

  for (const { id, schedule, timeZone, updatedAt } of configs) {
    try {
      const tick = previousTick({ pattern: schedule ?? '', timeZone }, latest);
      const answered = newestOf.get(id);
      if (tick === undefined || tick <= updatedAt || (answered !== undefined && answered !== null && answered >= tick)) continue;
      const made = await scheduleBackup(context, id, tick);
      if (made !== null) logger.warn({ configId: id, tick, id: made }, 'a missed tick is made up for');
    } catch (error) {
      const { code, message } = asHoldfastError(error);
      // One config whose schedule cannot be read does not keep the others from theirs.
      if (code !== 'schedule_invalid') throw error;
      logger.error({ configId: id, code }, message);
    }
  }
}
