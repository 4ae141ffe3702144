import { schedulePayloadSchema, type SchedulePayload } from './payloads.ts';
import { call, type Queues } from './queues.ts';

/** A job scheduler: it puts a tick on the queue `schedule` whenever its cron expression says so. */
export interface Scheduler {
  /** The id of the config or copy config, or `maintenance-cleanup`. */
  readonly id: string;
  readonly pattern: string;
  readonly timeZone: string;
  readonly payload: SchedulePayload;
}

export const cleanupSchedulerId = 'maintenance-cleanup';

/** More schedulers than this are not listed in one go; the reconciler reads page by page. */
const pageSize = 500;

/** Creates or replaces a scheduler. Throws queue_unreachable. */
export async function upsertScheduler(queues: Queues, scheduler: Scheduler): Promise<void> {
  await call(`scheduling ${scheduler.id}`, () =>
    queues.byName.schedule.upsertJobScheduler(
      scheduler.id,
      { pattern: scheduler.pattern, tz: scheduler.timeZone },
      { name: 'schedule', data: scheduler.payload },
    ),
  );
}

/** Removes a scheduler and its waiting tick; false when there was none. Throws queue_unreachable. */
export async function removeScheduler(queues: Queues, id: string): Promise<boolean> {
  return call(`unscheduling ${id}`, () => queues.byName.schedule.removeJobScheduler(id));
}

/** All schedulers. One whose payload is none of ours is listed with a payload of null, so that it can be removed. */
export async function listSchedulers(
  queues: Queues,
): Promise<(Omit<Scheduler, 'payload'> & { payload: SchedulePayload | null; nextAt: Date | null })[]> {
  const found = [];
  for (let start = 0; ; start += pageSize) {
    const page = await call('listing schedules', () => queues.byName.schedule.getJobSchedulers(start, start + pageSize - 1, true));
    for (const entry of page) {
      const payload = schedulePayloadSchema.safeParse(entry.template?.data);
      found.push({
        id: entry.key,
        pattern: entry.pattern ?? '',
        timeZone: entry.tz ?? 'UTC',
        payload: payload.success ? payload.data : null,
        nextAt: entry.next === undefined ? null : new Date(entry.next),
      });
    }
    if (page.length < pageSize) return found;
  }
}
