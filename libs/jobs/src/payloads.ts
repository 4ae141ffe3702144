import { z } from 'zod';

/**
 * What a job carries: ids, never a secret, never state. Queues may be wiped and filled again from the rows at any time.
 */

/** Longest id that a payload may carry; cuids have 25 characters. */
const maxIdLength = 64;

const idSchema = z.string().min(1).max(maxIdLength);

/** Jobs of the queues that carry runs: the id of the row, which is the job's id too. */
export const runPayloadSchema = z.strictObject({ id: idSchema });
export type RunPayload = z.infer<typeof runPayloadSchema>;

/** Jobs of the queue schedule: a tick of the schedule of a config or a copy config, or of the nightly cleanup. */
export const schedulePayloadSchema = z.union([
  z.strictObject({ configId: idSchema }),
  z.strictObject({ copyConfigId: idSchema }),
  z.strictObject({ maintenance: z.literal('cleanup') }),
]);
export type SchedulePayload = z.infer<typeof schedulePayloadSchema>;

export type JobPayload = RunPayload | SchedulePayload;
