import type { FastifyBaseLogger } from 'fastify';
import { requestCancel } from '@holdfast/database/runs';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { RunKind } from '@holdfast/jobs/queue-names';
import type { ServerDeps } from './server-deps.ts';

/**
 * Cancels a waiting run at once; of a running one its worker is asked to stop. `asked` tells which. The row decides: a job that stays on a
 * queue that does not answer finds its row cancelled and does nothing. Codes: not_found, run_already_finished, database_unreachable.
 */
export async function cancelJob(
  deps: Pick<ServerDeps, 'database' | 'queues'>,
  log: FastifyBaseLogger,
  kind: RunKind,
  { id, workerLabel }: { readonly id: string; readonly workerLabel: string | null },
): Promise<{ asked: boolean }> {
  const status = await requestCancel(deps.database, kind, id);
  if (status === 'running') return { asked: true };
  try {
    await deps.queues.removeRun(kind, id, workerLabel);
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    log.warn({ err: error, kind, id }, 'cancelled; its job stays on the queue and will do nothing');
  }
  return { asked: false };
}
