import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { previousTick } from '@holdfast/policy/schedule';
import { scheduleBackup, scheduleCopy } from './processors/schedule.ts';
import type { WorkerContext } from './worker-context.ts';

/** A tick this old was missed: a scheduler's own comes within seconds. */
const missedAfterMs = 60_000;

/**
 * Makes the backup of the last tick of each config, and the copy of each copy config, when no row answers it: all workers were down, or
 * the queue was wiped just then. One makes up for any number of missed ticks. A config that was made or changed after the tick did not
 * miss it.
 */
export async function makeUpMissedTicks(context: WorkerContext): Promise<void> {
  const { client } = context.database;
  const configs = await client.backupConfig.findMany({
    where: { isActive: true, deletedAt: null, schedule: { not: null } },
    select: { id: true, schedule: true, timeZone: true, updatedAt: true },
  });
  const newest = await client.backupJob.findMany({
    where: { backupConfigId: { in: configs.map((config) => config.id) }, scheduledFor: { not: null } },
    distinct: ['backupConfigId'],
    orderBy: [{ backupConfigId: 'asc' }, { scheduledFor: 'desc' }],
    select: { backupConfigId: true, scheduledFor: true },
  });
  await makeUp(context, configs, new Map(newest.map((job) => [job.backupConfigId, job.scheduledFor])), scheduleBackup);

  const copyConfigs = await client.copyConfig.findMany({
    where: { isActive: true, deletedAt: null },
    select: { id: true, schedule: true, timeZone: true, updatedAt: true },
  });
  const newestCopies = await client.copyJob.findMany({
    where: { copyConfigId: { in: copyConfigs.map((config) => config.id) }, scheduledFor: { not: null } },
    distinct: ['copyConfigId'],
    orderBy: [{ copyConfigId: 'asc' }, { scheduledFor: 'desc' }],
    select: { copyConfigId: true, scheduledFor: true },
  });
  await makeUp(context, copyConfigs, new Map(newestCopies.map((job) => [job.copyConfigId, job.scheduledFor])), scheduleCopy);
}

interface Scheduled {
  readonly id: string;
  readonly schedule: string | null;
  readonly timeZone: string;
  readonly updatedAt: Date;
}

async function makeUp(
  context: WorkerContext,
  configs: readonly Scheduled[],
  answeredOf: ReadonlyMap<string | null, Date | null>,
  make: (context: WorkerContext, configId: string, tick: Date) => Promise<string | null>,
): Promise<void> {
  const { clock, logger } = context;
  const latest = new Date(clock.now().getTime() - missedAfterMs);
  for (const { id, schedule, timeZone, updatedAt } of configs) {
    try {
      const tick = previousTick({ pattern: schedule ?? '', timeZone }, latest);
      const answered = answeredOf.get(id);
      if (tick === undefined || tick <= updatedAt || (answered !== undefined && answered !== null && answered >= tick)) continue;
      const made = await make(context, id, tick);
      if (made !== null) logger.warn({ configId: id, tick, id: made }, 'a missed tick is made up for');
    } catch (error) {
      const { code, message } = asHoldfastError(error);
      // One config whose schedule cannot be read does not keep the others from theirs.
      if (code !== 'schedule_invalid') throw error;
      logger.error({ configId: id, code }, message);
    }
  }
}
