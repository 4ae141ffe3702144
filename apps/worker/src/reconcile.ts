import { activeSchedules } from '@holdfast/database/backup-configs';
import { activeCopySchedules } from '@holdfast/database/copy-configs';
import { labelsInUse } from '@holdfast/database/labels-in-use';
import { runsOwed, type OwedRun } from '@holdfast/database/runs';
import { isServicePaused, joinServicePause } from '@holdfast/database/service-state';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { runQueueName } from '@holdfast/jobs/queue-names';
import { cleanupSchedulerId, listSchedulers, removeScheduler, upsertScheduler, type Scheduler } from '@holdfast/jobs/schedulers';
import { makeUpMissedTicks } from './missed-ticks.ts';
import type { WorkerContext } from './worker-context.ts';

/**
 * Puts the queue in order with the rows, which are the truth: runs that are owed and have no live job get one; schedulers become
 * what the configs say. It does the same after a lost enqueue, a wiped Redis and a worker that died with its queue.
 */
export async function reconcile(context: WorkerContext): Promise<void> {
  await reconcilePause(context);
  await reconcileRuns(context);
  await reconcileSchedulers(context);
  await makeUpMissedTicks(context);
}

/**
 * Queues that know of no pause while the service is paused have lost it with everything else. One that is paused or resumed by
 * itself, on the board, is left as it is.
 */
async function reconcilePause(context: WorkerContext): Promise<void> {
  const { database, queues, logger } = context;
  if (!(await isServicePaused(database.client))) return;
  await pauseLabels(context, await labelsInUse(database.client));
  if (Object.values(await queues.paused()).some(Boolean)) return;
  await queues.pauseAll();
  logger.warn('the queues had lost that the service is paused; paused again');
}

/** Before a worker takes jobs of its labels: they may be new to a service that is paused. */
export async function keepOwnLabelsPaused(context: WorkerContext): Promise<void> {
  const { labels } = context.config;
  if (labels.length === 0) return;
  try {
    await pauseLabels(context, labels);
  } catch (error) {
    if (!isHoldfastError(error, 'queue_unreachable')) throw error;
    context.logger.warn({ code: error.code }, 'whether the queues of its labels are paused is seen to by the reconciler');
  }
}

/** Pauses the queues of these labels, and of those that were paused before, when the service is; a label of which one is paused stays as it is. */
async function pauseLabels({ database, queues, logger }: WorkerContext, labels: readonly string[]): Promise<void> {
  const wanted = await joinServicePause(database.client, labels);
  if (wanted === null) return;
  const paused = new Set(await queues.pausedLabels(wanted));
  const unpaused = wanted.filter((label) => !paused.has(label));
  if (unpaused.length === 0) return;
  await queues.pauseLabels(unpaused);
  // Resumed meanwhile: whoever did that may have been faster than the pausing.
  if (await isServicePaused(database.client))
    logger.info({ labels: unpaused }, 'the service is paused, and with it the queues of these labels');
  else await queues.resumeLabels(unpaused);
}

/** Runs looked at in one go, a kind and label; the oldest come first and those that follow have their turn ten seconds later. */
const maxOwedPerQueue = 1_000;
/** A scheduler whose next tick is overdue for longer has lost it: a tick that is due is taken within seconds. */
const overdueMs = 60_000;

export async function reconcileRuns({ database, queues, timing, logger }: WorkerContext): Promise<number> {
  const owed = await runsOwed(database.client, {
    queuedForMs: timing.queuedForMs,
    silentForMs: timing.silentForMs,
    limit: maxOwedPerQueue,
  });
  let addedCount = 0;
  for (const runs of Map.groupBy(owed, (run: OwedRun) => runQueueName(run)).values()) {
    const [first] = runs;
    if (first === undefined) continue;
    const { kind, workerLabel } = first;
    const live = await queues.liveRuns(
      kind,
      runs.map((run) => run.id),
      workerLabel,
    );
    for (const run of runs.filter(({ id }) => !live.has(id))) {
      await queues.enqueueRun(kind, run.id, workerLabel);
      addedCount++;
    }
  }
  if (addedCount > 0) logger.warn({ addedCount }, 'runs that were owed had no job in the queue; added');
  return addedCount;
}

/** Changes only what differs: replacing a scheduler throws its waiting tick away. */
export async function reconcileSchedulers(context: WorkerContext): Promise<void> {
  const { database, queues, config, clock, logger } = context;
  const configs = await activeSchedules(database.client);
  const wanted = new Map<string, Scheduler>(
    configs.map(({ id, schedule, timeZone }) => [id, { id, pattern: schedule, timeZone, payload: { configId: id } }]),
  );
  for (const { id, schedule, timeZone } of await activeCopySchedules(database.client)) {
    wanted.set(id, { id, pattern: schedule, timeZone, payload: { copyConfigId: id } });
  }
  const cleanup = { pattern: config.cleanupSchedule, timeZone: 'UTC', payload: { maintenance: 'cleanup' } } as const;
  wanted.set(cleanupSchedulerId, { id: cleanupSchedulerId, ...cleanup });

  const present = new Map((await listSchedulers(queues)).map((scheduler) => [scheduler.id, scheduler]));
  const { waiting } = (await queues.counts()).schedule;
  for (const scheduler of wanted.values()) {
    const found = present.get(scheduler.id);
    const isOverdue = waiting === 0 && (found?.nextAt?.getTime() ?? 0) < clock.now().getTime() - overdueMs;
    if (found !== undefined && isSame(found, scheduler) && !isOverdue) continue;
    await upsertScheduler(queues, scheduler);
    logger.info({ scheduler }, 'schedule set');
  }
  for (const id of present.keys()) {
    if (wanted.has(id)) continue;
    await removeScheduler(queues, id);
    logger.info({ id }, 'schedule removed');
  }
}

function isSame(found: Awaited<ReturnType<typeof listSchedulers>>[number], wanted: Scheduler): boolean {
  return (
    found.pattern === wanted.pattern &&
    found.timeZone === wanted.timeZone &&
    JSON.stringify(found.payload) === JSON.stringify(wanted.payload)
  );
}
