import { withAdvisoryLock } from '@holdfast/database/advisory-lock';
import type { Database } from '@holdfast/database/open-database';
import { announceWaiting } from '@holdfast/database/waiting-runs';
import { startPeriodicDuty, type DutyLogger, type PeriodicDuty } from '@holdfast/jobs/periodic-duty';
import { waitingAlertMs } from '@holdfast/policy/routing';

/** As often as workers look. */
const intervalMs = 10_000;

/**
 * Tells the event log of runs that wait for a worker. Workers do so too, whichever comes first; but where none is alive, the API is who
 * is left to tell.
 */
export function startWaitingDuty(
  database: Database,
  logger: DutyLogger,
  timing: { readonly intervalMs?: number; readonly afterMs?: number } = {},
): PeriodicDuty {
  const afterMs = timing.afterMs ?? waitingAlertMs;
  const run = (): Promise<unknown> => withAdvisoryLock(database, 'watchWaiting', () => announceWaiting(database, { afterMs }));
  return startPeriodicDuty({ name: 'waiting', intervalMs: timing.intervalMs ?? intervalMs, logger, run });
}
