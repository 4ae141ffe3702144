import { removeWorker } from '@holdfast/database/workers';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { JobWorker } from '@holdfast/jobs/queue-backend';
import { withDeadline } from '@holdfast/jobs/with-deadline';
import type { BrowseServer } from './browse/browse-server.ts';
import type { PeriodicDuty } from '@holdfast/jobs/periodic-duty';
import type { WorkerContext } from './worker-context.ts';

/** An aborted run stops within a second and then tells its row and its queue, either of which may be slow. */
const interruptedMs = 10_000;
/** Closing a worker whose queue is gone may never return. */
const closeMs = 5_000;

/**
 * Ends a worker: no more jobs are taken; those in hand have the configured grace; then they are interrupted, which puts them back
 * into the queue for others; then everything closes. Bounded: what does not end in time is left behind, and the reconciler of
 * another worker finds it.
 */
export async function shutDown(
  context: WorkerContext,
  parts: {
    readonly workers: readonly JobWorker[];
    readonly duties: readonly PeriodicDuty[];
    readonly browseServer: BrowseServer | null;
    readonly rest: AsyncDisposableStack;
  },
): Promise<void> {
  const { config, inHand, logger, database, workerId } = context;
  logger.info({ inHand: inHand.claims().length }, 'worker is stopping');
  const closed = Promise.all(parts.workers.map((worker) => worker.close()));
  await attempt(context, 'the work in hand goes on too long; interrupting it', () =>
    withDeadline(Promise.all([inHand.empty(), parts.browseServer?.drain()]), config.shutdownGraceMs),
  );
  inHand.abortAll(new HoldfastError('run_interrupted', 'the worker stopped'));
  await attempt(context, 'a run did not stop', () => withDeadline(inHand.empty(), interruptedMs));
  await attempt(context, 'a queue did not close', () => withDeadline(closed, closeMs));
  await attempt(context, 'a duty did not end', () => withDeadline(Promise.all(parts.duties.map((duty) => duty.stop())), closeMs));
  await attempt(context, 'the worker could not sign off', () => withDeadline(removeWorker(database.client, workerId), closeMs));
  await attempt(context, 'a connection did not close', () => withDeadline(parts.rest.disposeAsync(), closeMs));
  logger.info('worker has stopped');
}

async function attempt({ logger }: WorkerContext, otherwise: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    logger.warn({ reason: error instanceof Error ? error.message : String(error) }, otherwise);
  }
}
