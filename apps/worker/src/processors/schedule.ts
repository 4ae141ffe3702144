import { createBackupJob } from '@holdfast/database/backup-jobs';
import { createCleanupJobs } from '@holdfast/database/cleanup-jobs';
import { createCopyJobOf } from '@holdfast/database/copy-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { schedulePayloadSchema } from '@holdfast/jobs/payloads';
import type { JobProcessor, QueueJob } from '@holdfast/jobs/queue-backend';
import type { RunKind } from '@holdfast/jobs/queue-names';
import { previousTick } from '@holdfast/policy/schedule';
import { endOfJob } from '../bullmq-error.ts';
import type { WorkerContext } from '../worker-context.ts';

/**
 * A tick of a schedule becomes a row, then a job. The row is unique for config and tick, so a tick that is delivered twice, or
 * found missed by the reconciler meanwhile, makes one.
 */
export function processSchedule(context: WorkerContext): JobProcessor {
  return async (job) => {
    const payload = schedulePayloadSchema.safeParse(job.data);
    if (!payload.success) throw endOfJob({ code: 'request_invalid', message: 'the payload is none of a schedule' });
    const tick = tickOf(job);
    if ('configId' in payload.data) return scheduleBackup(context, payload.data.configId, tick);
    if ('copyConfigId' in payload.data) return scheduleCopy(context, payload.data.copyConfigId, tick);
    return scheduleCleanup(context, tick);
  };
}

/**
 * Makes the backup of a tick, unless a scheduled one of the config is still waiting or running: a schedule faster than its
 * backups would pile them up. Returns the row's id; null when none was made.
 */
export async function scheduleBackup(context: WorkerContext, configId: string, tick: Date): Promise<string | null> {
  const { client } = context.database;
  const config = await client.backupConfig.findUnique({ where: { id: configId } });
  if (config?.schedule === null || config === null || !config.isActive || config.deletedAt !== null) return null;
  const scheduledFor = latestTick({ pattern: config.schedule, timeZone: config.timeZone }, tick, context.clock.now());

  const unfinishedCount = await client.backupJob.count({
    where: { backupConfigId: configId, trigger: 'schedule', status: { in: ['queued', 'running'] }, NOT: { scheduledFor } },
  });
  if (unfinishedCount > 0) {
    context.logger.debug({ configId, scheduledFor }, 'a scheduled backup is still under way; this tick is left out');
    return null;
  }
  try {
    const made = await inTransaction(
      context.database,
      (tx) => createBackupJob(tx, '*', { backupConfigId: configId, execute: true, scheduledFor }),
      { repeatable: true },
    );
    await enqueue(context, 'backup', made.row);
    return made.created ? made.row.id : null;
  } catch (error) {
    // Turned off or deleted since the look above.
    if (isHoldfastError(error, 'config_inactive')) return null;
    throw error;
  }
}

/** As scheduleBackup, for a copy config. */
export async function scheduleCopy(context: WorkerContext, copyConfigId: string, tick: Date): Promise<string | null> {
  const { client } = context.database;
  const config = await client.copyConfig.findUnique({ where: { id: copyConfigId } });
  if (config === null || !config.isActive || config.deletedAt !== null) return null;
  const scheduledFor = latestTick({ pattern: config.schedule, timeZone: config.timeZone }, tick, context.clock.now());
  const unfinishedCount = await client.copyJob.count({
    where: { copyConfigId, status: { in: ['queued', 'running'] }, OR: [{ scheduledFor: null }, { NOT: { scheduledFor } }] },
  });
  if (unfinishedCount > 0) {
    context.logger.debug({ copyConfigId, scheduledFor }, 'a copy is still under way; this tick is left out');
    return null;
  }
  try {
    const made = await inTransaction(context.database, (tx) => createCopyJobOf(tx, '*', { copyConfigId, scheduledFor }), {
      repeatable: true,
    });
    await enqueue(context, 'copy', made.row);
    return made.created ? made.row.id : null;
  } catch (error) {
    // Turned off or deleted since the look above.
    if (isHoldfastError(error, 'config_inactive')) return null;
    throw error;
  }
}

/** Makes a cleanup of each repository for a tick; returns how many. */
export async function scheduleCleanup(context: WorkerContext, tick: Date): Promise<number> {
  const scheduledFor = latestTick({ pattern: context.config.cleanupSchedule, timeZone: 'UTC' }, tick, context.clock.now());
  const rows = await inTransaction(context.database, (tx) => createCleanupJobs(tx, '*', { dryRun: false, scheduledFor }), {
    repeatable: true,
  });
  for (const row of rows) await enqueue(context, 'cleanup', row);
  return rows.length;
}

/** A tick that comes late, after an outage, stands for the newest one that is due: the others are not made up for. */
function latestTick(schedule: { pattern: string; timeZone: string }, tick: Date, now: Date): Date {
  const latest = previousTick(schedule, new Date(now.getTime() + 1));
  return latest !== undefined && latest > tick ? latest : tick;
}

/** The time for which the scheduler made this job: its last part of the id, else the time at which it was due. */
function tickOf(job: QueueJob): Date {
  const fromId = Number(job.id?.split(':').at(-1));
  return new Date(Number.isSafeInteger(fromId) && fromId > 0 ? fromId : job.timestamp + (job.delay ?? 0));
}

/** The row is there; when the queue is away the reconciler adds the job later. */
async function enqueue(
  { queues, logger }: WorkerContext,
  kind: RunKind,
  { id, workerLabel }: { readonly id: string; readonly workerLabel: string | null },
): Promise<void> {
  try {
    await queues.enqueueRun(kind, id, workerLabel);
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    logger.warn({ kind, id }, 'the job is added later: the queue does not answer');
  }
}
