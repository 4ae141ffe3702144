import { finishRun, releaseRun, type Claim, type RunError, type RunOutcome } from '@holdfast/database/runs';
import type { RunKind } from '@holdfast/database/run-kinds';
import type { RunStatus } from '@holdfast/database/run-states';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { WorkerContext } from './worker-context.ts';

/**
 * Tells a run's end to its row. PostgreSQL may be restarting just then: hours of work are not thrown away for that, so it is told
 * again for a while. When it cannot be told at all the run is done again by its next attempt, which for a backup finds the
 * snapshot that is there already.
 */
const toldForMs = 90_000;
const pauseMs = 1_000;

/** Longest error message that a row keeps. */
const maxMessageLength = 2_000;

type Recording = Pick<WorkerContext, 'database' | 'clock'>;

/** Ends the run. Codes: run_superseded, database_unreachable after a minute and a half. */
export async function recordEnd<K extends RunKind>(context: Recording, claim: Claim<K>, outcome: RunOutcome<K>): Promise<void> {
  await untilReachable(context, () => finishRun(context.database, claim, outcome));
}

/** Gives the run back to be tried again; tells what became of it (cancelled, when that was asked for). Codes: as recordEnd. */
export async function recordRelease(context: Recording, claim: Claim, error: RunError): Promise<RunStatus> {
  return untilReachable(context, () => releaseRun(context.database, claim, rowError(error)));
}

/** What a row says of an error. */
export function rowError(error: RunError): RunError {
  return { code: error.code, message: error.message.slice(0, maxMessageLength) };
}

async function untilReachable<T>({ clock }: Recording, tell: () => Promise<T>): Promise<T> {
  const giveUpAtMs = clock.now().getTime() + toldForMs;
  for (;;) {
    try {
      return await tell();
    } catch (error) {
      if (!isHoldfastError(error, 'database_unreachable') || clock.now().getTime() > giveUpAtMs) throw error;
      await clock.sleep(pauseMs);
    }
  }
}
