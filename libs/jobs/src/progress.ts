import { z } from 'zod';

/**
 * How far a run is, for eyes only: a value may be lost and nothing is decided by it. Totals and the remaining time are null while
 * nobody knows them. `bytesPerSecond` is a mean over the last seconds.
 */
export const progressSchema = z.strictObject({
  phase: z.string(),
  filesDone: z.number(),
  filesTotal: z.number().nullable(),
  bytesDone: z.number(),
  bytesTotal: z.number().nullable(),
  bytesPerSecond: z.number(),
  elapsedMs: z.number(),
  remainingMs: z.number().nullable(),
});
export type Progress = z.infer<typeof progressSchema>;

/** Shortest time between two values of one run: twice a second is as often as eyes want. */
export const progressIntervalMs = 500;
