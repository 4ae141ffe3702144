import type { FastifyBaseLogger } from 'fastify';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Queues } from '@holdfast/jobs/queues';
import type { SchedulePayload } from '@holdfast/jobs/payloads';
import { removeScheduler, upsertScheduler } from '@holdfast/jobs/schedulers';

interface Scheduled {
  readonly id: string;
  readonly schedule: string | null;
  readonly timeZone: string;
  readonly isActive: boolean;
  readonly deletedAt: Date | null;
}

/** Makes the job scheduler of a config, or of what `payload` names, what its row says. When the queue does not answer the worker's reconciler does it later. */
export async function syncScheduler(
  queues: Queues,
  log: FastifyBaseLogger,
  config: Scheduled,
  payload: SchedulePayload = { configId: config.id },
): Promise<void> {
  const { id, schedule, timeZone, isActive, deletedAt } = config;
  try {
    if (schedule !== null && isActive && deletedAt === null) {
      await upsertScheduler(queues, { id, pattern: schedule, timeZone, payload });
    } else await removeScheduler(queues, id);
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    log.warn({ err: error, configId: id }, 'the schedule is saved but not yet on the queue; the reconciler follows');
  }
}
