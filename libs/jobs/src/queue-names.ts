/**
 * The queues. Those of `runKinds` carry runs, one each kind of work; `schedule` carries the ticks of schedules, whose processor makes a row and
 * then a run; `storage_test` carries places that somebody waits to see tried. A queue's jobs are named after the queue.
 */
export const runKinds = ['backup', 'verify', 'recovery', 'cleanup', 'copy', 'adopt'] as const;
export type RunKind = (typeof runKinds)[number];

export const queueNames = [...runKinds, 'schedule', 'storage_test'] as const;
export type QueueName = (typeof queueNames)[number];

/**
 * Runs that name a label of workers have queues of their own, one each kind and label, to which only workers listen that carry it: so no
 * worker ever takes what it cannot do. BullMQ allows no colon in a name; a tilde, which stands for it, is in no label.
 */
export type LabelledQueueName = `${RunKind}.${string}`;
export type AnyQueueName = QueueName | LabelledQueueName;

/** A queue of runs; the label is null for those that any worker may do. */
export interface RunQueue {
  readonly kind: RunKind;
  readonly workerLabel: string | null;
}

export function runQueueName({ kind, workerLabel }: RunQueue): RunKind | LabelledQueueName {
  return workerLabel === null ? kind : `${kind}.${workerLabel.replaceAll(':', '~')}`;
}

export function isLabelledQueue(name: AnyQueueName): name is LabelledQueueName {
  return name.includes('.');
}

/** Key prefix in Redis: one Redis may serve other programs too. */
export const redisKeyPrefix = 'holdfast';

/** Schema in PostgreSQL that holds the queue's own tables, apart from Holdfast's rows. */
export const postgresqlSchema = 'bullmq';

/** True for the name of a queue that carries runs. */
export function isRunKind(name: string): name is RunKind {
  return (runKinds as readonly string[]).includes(name);
}

/** One value for each name. */
export function recordOf<Name extends string, Value>(names: readonly Name[], valueOf: (name: Name) => Value): Record<Name, Value> {
  // Object.fromEntries forgets the names' type.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Object.fromEntries(names.map((name) => [name, valueOf(name)])) as Record<Name, Value>;
}
