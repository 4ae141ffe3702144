import { claimRun, isRunLost, type Claim, type RunOutcome } from '@holdfast/database/runs';
import { runTables, type RunKind } from '@holdfast/database/run-kinds';
import type { OnProgress } from '@holdfast/engine/progress';
import { asHoldfastError, isHoldfastError, type HoldfastError } from '@holdfast/errors/holdfast-error';
import { maxAttempts } from '@holdfast/jobs/job-defaults';
import { runPayloadSchema } from '@holdfast/jobs/payloads';
import type { JobProcessor, QueueJob } from '@holdfast/jobs/queue-backend';
import { withDeadline } from '@holdfast/jobs/with-deadline';
import { carriesLabel } from '@holdfast/policy/routing';
import { DelayedError, WaitingError } from 'bullmq';
import type { Logger } from 'pino';
import { endOfJob, toBullmqError } from './bullmq-error.ts';
import { recordEnd, recordRelease, rowError } from './record-run.ts';
import { createProgressReporter } from './report-progress.ts';
import type { WorkerContext } from './worker-context.ts';

/** A run while this process works on it. */
export interface RunInHand<K extends RunKind> {
  readonly context: WorkerContext;
  readonly claim: Claim<K>;
  /** Aborts with run_cancelled, run_superseded or run_interrupted. */
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly logger: Logger;
  /** The listener hears of the error with which the run fails, when it does. */
  onFailure(listener: (error: HoldfastError) => void): void;
}

export type RunWork<K extends RunKind> = (run: RunInHand<K>) => Promise<RunOutcome<K>>;

/** A run waits no longer than this for a repository that is always locked; whoever holds it for so long is stuck. */
const maxLockedMs = 6 * 3600 * 1000;

/** The last value of a progress may take no longer. */
const lastProgressMs = 1_000;

/** Without it the job comes back as a stalled one, half a minute later. */
const backToQueueMs = 2_000;

interface Delivery {
  readonly job: QueueJob;
  readonly token: string | undefined;
}

/**
 * The frame around the processors of runs: claim the row, do the work under a signal and with progress, tell the row how it ended,
 * and tell the queue whether the job comes again. Rows decide: a job whose row is final or somebody else's does nothing.
 */
export function runWithClaim<K extends RunKind>(context: WorkerContext, kind: K, work: RunWork<K>): JobProcessor {
  return async (job, token) => {
    const payload = runPayloadSchema.safeParse(job.data);
    if (!payload.success) throw endOfJob({ code: 'request_invalid', message: 'the payload is none of a run' });
    const { id } = payload.data;
    if (context.inHand.has(kind, id) || (await isHeldElsewhere(context, kind, id))) {
      return comeAgain({ job, token }, context.timing.heldDelayMs);
    }
    const claim = await claimRun(context.database, kind, id, {
      workerId: context.workerId,
      carries: (workerLabel) => carriesLabel(context.config, workerLabel),
    });
    if (claim === null) return { status: 'nothing_to_do' };
    const { signal, release } = context.inHand.add(claim);
    try {
      return await workOn(context, { job, token }, claim, signal, work);
    } finally {
      release();
    }
  };
}

async function workOn<K extends RunKind>(
  context: WorkerContext,
  delivery: Delivery,
  claim: Claim<K>,
  signal: AbortSignal,
  work: RunWork<K>,
): Promise<unknown> {
  const logger = context.logger.child({ kind: claim.kind, id: claim.id, attempt: claim.attempt });
  const progress = createProgressReporter({
    async send(value) {
      await delivery.job.updateProgress(value);
      // Who follows progress listens to the queues that name no label.
      if (delivery.job.queueName !== claim.kind) await context.queues.publishProgress(claim.kind, claim.id, value);
    },
    onLost: (error) => logger.debug({ err: error }, 'progress was not sent'),
    now: () => performance.now(),
  });
  const failureListeners: ((error: HoldfastError) => void)[] = [];
  const onFailure = (listener: (error: HoldfastError) => void): void => void failureListeners.push(listener);
  let outcome: RunOutcome<K> | undefined;
  try {
    logger.info('run started');
    outcome = await work({ context, claim, signal, onProgress: progress.onProgress, logger, onFailure });
    // A queue that is away must not keep the row from hearing.
    await Promise.race([progress.flush(), context.clock.sleep(lastProgressMs)]);
    await recordEnd(context, claim, outcome);
  } catch (error) {
    for (const listener of failureListeners) listener(asHoldfastError(error));
    // Done, but nobody could be told: another attempt finds out.
    if (outcome !== undefined && isHoldfastError(error, 'database_unreachable')) throw toBullmqError(error);
    return await settle(context, claim, delivery, reasonOf(error, signal), logger);
  }
  logger.info({ status: outcome.status }, 'run ended');
  if (outcome.status === 'failed') throw endOfJob(outcome.error);
  return { status: outcome.status };
}

/** An aborted run ends for the reason of its abort, whatever error that led to. */
function reasonOf(error: unknown, signal: AbortSignal): HoldfastError {
  return asHoldfastError(signal.aborted && !isRunLost(error) ? signal.reason : error);
}

async function settle(context: WorkerContext, claim: Claim, delivery: Delivery, error: HoldfastError, logger: Logger): Promise<unknown> {
  try {
    return await settleHeld(context, claim, delivery, error, logger);
  } catch (settling) {
    if (!isHoldfastError(settling, 'run_superseded')) throw settling;
    logger.warn('another attempt has taken over');
    return { status: 'superseded' };
  }
}

async function settleHeld(
  context: WorkerContext,
  claim: Claim,
  { job, token }: Delivery,
  error: HoldfastError,
  logger: Logger,
): Promise<unknown> {
  if (error.code === 'run_superseded') throw error;
  if (error.code === 'run_cancelled') {
    await recordEnd(context, claim, { status: 'cancelled' });
    logger.info('run cancelled');
    return { status: 'cancelled' };
  }

  const isLocked = error.code === 'repository_locked' && Date.now() - job.timestamp < maxLockedMs;
  const isInterrupted = error.code === 'run_interrupted';
  const isLastAttempt = job.attemptsMade + 1 >= (job.opts.attempts ?? maxAttempts);
  if (isInterrupted || isLocked || (error.retry === 'later' && !isLastAttempt)) {
    const status = await recordRelease(context, claim, error);
    if (status === 'cancelled') return { status };
    logger.warn({ code: error.code, err: isLocked || isInterrupted ? undefined : error }, `run is tried again: ${error.message}`);
    if (isInterrupted) return backToQueue({ job, token });
    if (isLocked) return comeAgain({ job, token }, context.timing.lockBackoffMs * (1 + Math.random()));
    throw toBullmqError(error);
  }

  await recordEnd(context, claim, { status: 'failed', error: rowError(error) });
  logger.error({ code: error.code, err: error }, `run failed: ${error.message}`);
  throw endOfJob(error);
}

/** The job comes again later without using up an attempt. */
async function comeAgain({ job, token }: Delivery, delayMs: number): Promise<never> {
  await job.moveToDelayed(Date.now() + delayMs, token);
  throw new DelayedError();
}

/** Another worker may have the job at once. This worker is stopping and does not wait for a queue that is away. */
async function backToQueue({ job, token }: Delivery): Promise<never> {
  await withDeadline(job.moveToWait(token), backToQueueMs);
  throw new WaitingError();
}

/** A job may be delivered twice, after a wiped queue for example; a run in good hands is left there. */
async function isHeldElsewhere({ database, workerId, timing }: WorkerContext, kind: RunKind, id: string): Promise<boolean> {
  const rows = await database.client.$queryRaw<{ id: string }[]>`
    SELECT "id" FROM ${runTables[kind]} WHERE "id" = ${id} AND "status" = 'running' AND "claimedBy" <> ${workerId}
      AND "heartbeatAt" > clock_timestamp() - ${timing.heldForMs} * interval '1 millisecond'`;
  return rows.length > 0;
}
