import type { QueueEventsProducer } from 'bullmq';
import { closeQueues } from './close-queues.ts';
import type { Progress } from './progress.ts';
import type { JobQueue, OnBackendError, QueueBackend } from './queue-backend.ts';
import { runQueueName, type AnyQueueName, type RunKind, type RunQueue } from './queue-names.ts';

/** The queues of labels that this process has needed so far. Any process may be the first that needs one: there is nothing to declare. */
export interface LabelledQueues {
  /** The queue of a kind and label, opened when it is not. Rejects when its server does not answer; the next call tries again. */
  open(queue: RunQueue): Promise<JobQueue>;
  /** Tells progress to those who listen to the kind: they need no connection of their own for each label. */
  publishProgress(kind: RunKind, id: string, progress: Progress): Promise<void>;
  close(): Promise<void>;
}

export function openLabelledQueues(backend: QueueBackend, options: { readonly onError: OnBackendError }): LabelledQueues {
  const queues = openedOnce((name) => backend.openQueue(name, options.onError), backend);
  const producers = openedOnce<QueueEventsProducer, RunKind>((kind) => backend.openEventsProducer(kind, options.onError), backend);
  return {
    open: (queue) => queues.get(runQueueName(queue)),
    async publishProgress(kind, id, progress) {
      const producer = await producers.get(kind);
      await producer.publishEvent({ eventName: 'progress', jobId: id, data: JSON.stringify(progress) });
    },
    async close() {
      await Promise.all([queues.close(), producers.close()]);
    },
  };
}

/** A connection on PostgreSQL that cannot be made at first never is later, so such a one is dropped and made anew. */
function openedOnce<T extends JobQueue | QueueEventsProducer, Name extends AnyQueueName = AnyQueueName>(
  open: (name: Name) => T,
  backend: Pick<QueueBackend, 'kind'>,
): { get(name: Name): Promise<T>; close(): Promise<void> } {
  const opened = new Map<Name, Promise<T>>();
  const all = new Set<T>();
  const openNew = async (name: Name): Promise<T> => {
    const made = open(name);
    all.add(made);
    if (backend.kind === 'redis') return made;
    try {
      await made.waitUntilReady();
      return made;
    } catch (error) {
      opened.delete(name);
      all.delete(made);
      await closeQueues([made]);
      throw error;
    }
  };
  return {
    async get(name) {
      const known = opened.get(name) ?? openNew(name);
      opened.set(name, known);
      return known;
    },
    close: () => closeQueues([...all]),
  };
}
