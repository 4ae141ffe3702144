import type { FastifyBaseLogger } from 'fastify';
import type { ReroutedRun } from '@holdfast/database/reroute-runs';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Queues } from '@holdfast/jobs/queues';

/** Moved before the answer; of a config there are rarely more than a few, and the reconciler moves the others. */
const maxMovedCount = 200;

/**
 * Puts the jobs of queued runs onto the queue of the label that their rows name now. A job that stays where it was finds its row gone to
 * another label and does nothing; one that is missing is added by the reconciler.
 */
export async function moveRuns(queues: Queues, log: FastifyBaseLogger, rerouted: readonly ReroutedRun[]): Promise<void> {
  const queued = rerouted.filter(({ status }) => status === 'queued');
  try {
    for (const { kind, id, from, to } of queued.slice(0, maxMovedCount)) {
      await queues.enqueueRun(kind, id, to);
      await queues.removeRun(kind, id, from);
    }
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    log.warn(
      { err: error, ids: queued.map(({ id }) => id) },
      'the runs have another label but are not yet on its queue; the reconciler follows',
    );
  }
}
