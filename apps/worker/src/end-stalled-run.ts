import { claimRun } from '@holdfast/database/runs';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import type { QueueJob } from '@holdfast/jobs/queue-backend';
import { isRunKind, type QueueName } from '@holdfast/jobs/queue-names';
import { recordEnd } from './record-run.ts';
import type { WorkerContext } from './worker-context.ts';

/** How the queue names the end of a job whose workers died on it too often; it never reaches a processor then. */
const stalledTooOften = /stalled more than allowable limit/u;

/** Ends the row of a job that the queue has given up because every worker that took it died. */
export async function endStalledRun(
  context: Pick<WorkerContext, 'database' | 'workerId' | 'clock' | 'logger'>,
  queue: QueueName,
  job: Pick<QueueJob, 'id'> | undefined,
  error: Error,
): Promise<void> {
  const id = job?.id;
  if (!isRunKind(queue) || id === undefined || !stalledTooOften.test(error.message)) return;
  try {
    const claim = await claimRun(context.database, queue, id, { workerId: context.workerId });
    if (claim === null) return;
    const message = `${claim.attempt - 1} attempts ended with the death of their worker`;
    await recordEnd(context, claim, { status: 'failed', error: { code: 'attempts_exhausted', message } });
    context.logger.error({ kind: queue, id }, `run failed: ${message}`);
  } catch (failure) {
    // The reconciler brings the run back, as it is still owed.
    context.logger.warn({ kind: queue, id, code: asHoldfastError(failure).code }, 'the end of a stalled run could not be told');
  }
}
