import { heartbeatRuns, type Claim } from '@holdfast/database/runs';
import { heartbeatWorker, registerWorker, type WorkerIdentity } from '@holdfast/database/workers';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { WorkerContext } from './worker-context.ts';

/**
 * Says of every run in hand that it is still worked on, and learns which of them are to be stopped. This is also how a cancel
 * request arrives whose notification was lost.
 */
export async function heartbeat(context: WorkerContext, browseUrl: string | undefined): Promise<void> {
  const { database, inHand, workerId } = context;
  const claims = inHand.claims();
  if (claims.length > 0) {
    const { superseded, cancelRequested } = await heartbeatRuns(database, claims);
    for (const claim of cancelRequested) inHand.abort(claim.kind, claim.id, cancelled(claim));
    for (const claim of superseded) {
      const lost = new HoldfastError('run_superseded', `${claim.kind} run ${claim.id} is no longer held by attempt ${claim.attempt}`);
      inHand.abort(claim.kind, claim.id, lost);
    }
  }
  const isKnown = await heartbeatWorker(database.client, workerId, claims);
  if (!isKnown) await registerWorker(database.client, workerIdentity(context, browseUrl));
}

/** What this process says of itself in its row. */
export function workerIdentity(context: WorkerContext, browseUrl: string | undefined): WorkerIdentity {
  const { workerId: id, hostname, config } = context;
  return { id, hostname, pid: process.pid, browseUrl, labels: config.labels, labelsOnly: config.labelsOnly };
}

/** The reason with which a run stops that somebody cancelled. */
export function cancelled({ kind, id }: Pick<Claim, 'kind' | 'id'>): HoldfastError {
  return new HoldfastError('run_cancelled', `${kind} run ${id} was cancelled`);
}
