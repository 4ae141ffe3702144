import type { JobProcessor, JobWorker, OnBackendError, QueueBackend } from '@holdfast/jobs/queue-backend';
import { queueNames, runKinds, runQueueName, type AnyQueueName, type QueueName, type RunKind } from '@holdfast/jobs/queue-names';
import { createSlotGate, type SlotGate } from '@holdfast/jobs/slot-gate';
import { endStalledRun } from './end-stalled-run.ts';
import { processAdopt } from './processors/adopt.ts';
import { processBackup } from './processors/backup.ts';
import { processCleanup } from './processors/cleanup.ts';
import { processCopy } from './processors/copy.ts';
import { processRecovery } from './processors/recovery.ts';
import { processSchedule } from './processors/schedule.ts';
import { processStorageTest } from './processors/storage-test.ts';
import { processVerify } from './processors/verify.ts';
import { runWithClaim, type RunWork } from './run-with-claim.ts';
import type { WorkerContext } from './worker-context.ts';

/** What is done for each kind of run; a test may put its own in. */
export type RunWorks = { readonly [K in RunKind]: RunWork<K> };

export const runWorks: RunWorks = {
  backup: processBackup,
  verify: processVerify,
  recovery: processRecovery,
  cleanup: processCleanup,
  copy: processCopy,
  adopt: processAdopt,
};

/** Deliveries of a job whose worker died, before it counts as the one that kills its workers. */
const maxStalledCount = 10;

/**
 * Opens a worker for each queue that this process listens to: those of its labels, and those that name none unless it is for its labels
 * only. Ticks of schedules are taken by every worker: they make rows and touch no data. None takes jobs until it is run.
 *
 * The bound on jobs in hand is one a kind, whatever their labels.
 */
export function openWorkers(context: WorkerContext, works: RunWorks, backend: QueueBackend, onError: OnBackendError): JobWorker[] {
  const { config, timing } = context;
  const open = (name: AnyQueueName, queue: QueueName, processor: JobProcessor, slots?: SlotGate): JobWorker => {
    const options = {
      name: context.workerId,
      concurrency: config.concurrency,
      lockDuration: timing.lockDurationMs,
      lockRenewTime: timing.lockRenewMs,
      stalledInterval: timing.stalledIntervalMs,
      maxStalledCount,
      slots,
    };
    const worker = backend.openWorker(name, processor, options, onError);
    return worker.on('failed', (job, error) => void endStalledRun(context, queue, job, error));
  };
  const processors: Record<QueueName, JobProcessor> = {
    backup: runWithClaim(context, 'backup', works.backup),
    verify: runWithClaim(context, 'verify', works.verify),
    recovery: runWithClaim(context, 'recovery', works.recovery),
    cleanup: runWithClaim(context, 'cleanup', works.cleanup),
    copy: runWithClaim(context, 'copy', works.copy),
    adopt: runWithClaim(context, 'adopt', works.adopt),
    schedule: processSchedule(context),
    storage_test: processStorageTest(context),
  };
  if (config.labels.length === 0) return queueNames.map((name) => open(name, name, processors[name]));
  const workers = [open('schedule', 'schedule', processors.schedule)];
  if (!config.labelsOnly) workers.push(open('storage_test', 'storage_test', processors.storage_test));
  const labels = config.labelsOnly ? config.labels : [null, ...config.labels];
  for (const kind of runKinds) {
    const slots = createSlotGate(config.concurrency);
    for (const workerLabel of labels) workers.push(open(runQueueName({ kind, workerLabel }), kind, processors[kind], slots));
  }
  return workers;
}
