import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { JobQueue, OnBackendError, QueueBackend } from './queue-backend.ts';
import { openLabelledQueues, type LabelledQueues } from './labelled-queues.ts';
import type { Progress } from './progress.ts';
import { queueNames, recordOf, runKinds, type QueueName, type RunKind, type RunQueue } from './queue-names.ts';
import { closeQueues } from './close-queues.ts';
import { withDeadline } from './with-deadline.ts';

/** Counts of one queue's jobs by their state in the queue. */
export interface QueueCounts {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly completed: number;
  readonly failed: number;
}

const noJobs: QueueCounts = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0 };

export interface Queues extends AsyncDisposable {
  readonly backendKind: QueueBackend['kind'];
  /** The queues that name no label, themselves, for Bull Board. */
  readonly byName: Readonly<Record<QueueName, JobQueue>>;
  /** Those of labels, which are opened when somebody first needs them. */
  readonly labelled: LabelledQueues;

  /**
   * Adds the job of a row, whose id is the job's id, to the queue of the label that the row names. Adding it again is no error; a
   * finished job of that id is replaced, so that a row which is owed once more is done once more. Throws queue_unreachable within 2 s;
   * the reconciler adds it later then.
   */
  enqueueRun(kind: RunKind, id: string, workerLabel?: string | null): Promise<void>;
  /** Takes a job that nobody works on out of its queue. False when it is active or not there. Throws queue_unreachable. */
  removeRun(kind: RunKind, id: string, workerLabel?: string | null): Promise<boolean>;
  /** Which of these rows, all of one label, have a job that is waiting, delayed or active on its queue. Throws queue_unreachable. */
  liveRuns(kind: RunKind, ids: readonly string[], workerLabel?: string | null): Promise<Set<string>>;
  /** Tells progress of a run on the queue of a label to those who listen to its kind. Throws queue_unreachable. */
  publishProgress(kind: RunKind, id: string, progress: Progress): Promise<void>;

  /** Has a worker try a place; there is one try, for whoever asked waits. Throws queue_unreachable. */
  enqueueStorageTest(id: string): Promise<void>;

  /** Workers take no more runs that name no label (schedules go on making rows). Throws queue_unreachable. */
  pauseAll(): Promise<void>;
  resumeAll(): Promise<void>;
  /** The same for runs that name one of these. */
  pauseLabels(labels: readonly string[]): Promise<void>;
  resumeLabels(labels: readonly string[]): Promise<void>;
  /** Those of these labels of which a queue is paused, whichever. */
  pausedLabels(labels: readonly string[]): Promise<string[]>;
  /** True for a queue that takes no work now. */
  paused(): Promise<Record<RunKind, boolean>>;
  counts(): Promise<Record<QueueName, QueueCounts>>;
  /** Of queues that need not have been opened. */
  labelledCounts(queues: readonly RunQueue[]): Promise<(RunQueue & { readonly counts: QueueCounts })[]>;
  /** Time of one round trip to the queue's server. Throws queue_unreachable within 2 s. */
  ping(): Promise<{ latencyMs: number }>;

  /** Ends the connections, within 3 s even when the server is gone. Calling it twice is no error. */
  close(): Promise<void>;
}

/** How long a request may wait for the queue: its row is committed already, and the reconciler follows. */
const callTimeoutMs = 2_000;

/**
 * Opens the queues. Redis may be away: calls then throw queue_unreachable until it is back. PostgreSQL must answer once, as it must
 * for the rows anyway; else queue_unreachable is thrown and nothing is left open.
 */
export async function openQueues(backend: QueueBackend, options: { onError: OnBackendError }): Promise<Queues> {
  await backend.prepare();
  const byName = recordOf(queueNames, (name) => backend.openQueue(name, options.onError));
  const all = Object.values(byName);
  const labelled = openLabelledQueues(backend, options);
  const queueOf: QueueOf = (kind, workerLabel) =>
    workerLabel === null ? Promise.resolve(byName[kind]) : labelled.open({ kind, workerLabel });

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= closeAll(all, labelled, backend);
    return closing;
  };

  if (backend.kind === 'postgresql') {
    // A queue on PostgreSQL that cannot connect at first never does later.
    try {
      await call('opening the queues', () => Promise.all(all.map((queue) => queue.waitUntilReady())));
    } catch (error) {
      await close();
      throw error;
    }
  }

  return {
    backendKind: backend.kind,
    byName,
    labelled,
    enqueueRun: (kind, id, workerLabel = null) =>
      call(`adding ${kind} ${id}`, async () => enqueueRun(await queueOf(kind, workerLabel), kind, id)),
    removeRun: (kind, id, workerLabel = null) =>
      call(`removing ${kind} ${id}`, async () => removeRun(await queueOf(kind, workerLabel), id)),
    liveRuns: (kind, ids, workerLabel = null) =>
      call(`looking for ${ids.length} runs in ${kind}`, async () => liveRuns(await queueOf(kind, workerLabel), ids)),
    publishProgress: (kind, id, progress) => call(`progress of ${kind} ${id}`, () => labelled.publishProgress(kind, id, progress)),
    enqueueStorageTest: (id) =>
      call(`adding the storage test ${id}`, async () => {
        await byName.storage_test.add('storage_test', { id }, { jobId: id, attempts: 1, removeOnComplete: true });
      }),
    ...pausing(queueOf),
    paused: () =>
      call('asking whether queues are paused', async () => {
        const found = new Map(await Promise.all(runKinds.map(async (kind) => [kind, await byName[kind].isPaused()] as const)));
        return recordOf(runKinds, (kind) => found.get(kind) ?? false);
      }),
    counts: () =>
      call('counting jobs', async () => {
        const found = new Map(await Promise.all(queueNames.map(async (name) => [name, await countsOf(byName[name])] as const)));
        return recordOf(queueNames, (name) => found.get(name) ?? noJobs);
      }),
    labelledCounts: (queues) =>
      call('counting jobs', () =>
        Promise.all(
          queues.map(async ({ kind, workerLabel }) => ({ kind, workerLabel, counts: await countsOf(await queueOf(kind, workerLabel)) })),
        ),
      ),
    async ping() {
      const startedAtMs = performance.now();
      await call('asking for an answer', () => byName.backup.isPaused());
      return { latencyMs: performance.now() - startedAtMs };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function closeAll(queues: readonly JobQueue[], labelled: LabelledQueues, backend: QueueBackend): Promise<void> {
  await Promise.all([closeQueues(queues), labelled.close()]);
  // A worker that is not closed yet holds on to a connection.
  await withDeadline(backend.close(), callTimeoutMs).catch(() => undefined);
}

type QueueOf = (kind: RunKind, workerLabel: string | null) => Promise<JobQueue>;

function pausing(queueOf: QueueOf): Pick<Queues, 'pauseAll' | 'resumeAll' | 'pauseLabels' | 'resumeLabels' | 'pausedLabels'> {
  const forEachQueue = async (
    labels: readonly (string | null)[],
    act: (queue: JobQueue, label: string | null) => Promise<void>,
  ): Promise<void> => {
    await Promise.all(labels.flatMap((label) => runKinds.map(async (kind) => act(await queueOf(kind, label), label))));
  };
  return {
    pauseAll: () => call('pausing', () => forEachQueue([null], (queue) => queue.pause())),
    resumeAll: () => call('resuming', () => forEachQueue([null], (queue) => queue.resume())),
    pauseLabels: (labels) => call('pausing', () => forEachQueue(labels, (queue) => queue.pause())),
    resumeLabels: (labels) => call('resuming', () => forEachQueue(labels, (queue) => queue.resume())),
    pausedLabels: (labels) =>
      call('asking whether queues are paused', async () => {
        const found = new Set<string>();
        await forEachQueue(labels, async (queue, label) => void ((await queue.isPaused()) && label !== null && found.add(label)));
        return [...found];
      }),
  };
}

/** Runs a call on the queue's server with a deadline, its failures as queue_unreachable. */
export async function call<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await withDeadline(run(), callTimeoutMs);
  } catch (error) {
    throw new HoldfastError('queue_unreachable', `${what}: the queue does not answer`, { cause: error });
  }
}

async function enqueueRun(queue: JobQueue, kind: RunKind, id: string): Promise<void> {
  const former = await queue.getJob(id);
  if (former !== undefined) {
    const state = await former.getState();
    if (state !== 'completed' && state !== 'failed') return;
    await former.remove();
  }
  await queue.add(kind, { id }, { jobId: id });
}

async function removeRun(queue: JobQueue, id: string): Promise<boolean> {
  const job = await queue.getJob(id);
  if (job === undefined || (await job.getState()) === 'active') return false;
  // Zero when a worker has taken it in between.
  return (await queue.remove(id)) === 1;
}

async function liveRuns(queue: JobQueue, ids: readonly string[]): Promise<Set<string>> {
  const states = await Promise.all(ids.map(async (id) => [id, await queue.getJobState(id)] as const));
  return new Set(states.filter(([, state]) => state !== 'completed' && state !== 'failed' && state !== 'unknown').map(([id]) => id));
}

async function countsOf(queue: JobQueue): Promise<QueueCounts> {
  const counts = await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'completed', 'failed');
  const count = (state: string): number => counts[state] ?? 0;
  return {
    waiting: count('waiting') + count('paused') + count('prioritized'),
    active: count('active'),
    delayed: count('delayed'),
    completed: count('completed'),
    failed: count('failed'),
  };
}
