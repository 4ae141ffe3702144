import type { DefaultJobOptions } from 'bullmq';

/** Tries of a run before its last error is final: with the backoff below they span about half a minute of trouble. */
export const maxAttempts = 5;

/** The first wait; it doubles with each try (2, 4, 8, 16 s). */
const backoffDelayMs = 2_000;
/** Share of a wait that is drawn by lot, so that runs that failed together do not come back together. */
const backoffJitter = 0.5;

/** What Bull Board shows of finished jobs. The rows keep everything; this is a window on it. */
const keptCompletedCount = 1_000;
const keptFailedCount = 5_000;
const keptCompletedSeconds = 24 * 3600;
const keptFailedSeconds = 7 * 24 * 3600;

export const jobDefaults: DefaultJobOptions = {
  attempts: maxAttempts,
  backoff: { type: 'exponential', delay: backoffDelayMs, jitter: backoffJitter },
  removeOnComplete: { count: keptCompletedCount, age: keptCompletedSeconds },
  removeOnFail: { count: keptFailedCount, age: keptFailedSeconds },
};
