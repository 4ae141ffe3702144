import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Which worker may do which run. Workers carry labels, words of the operator's own for what they can reach (`site-berlin`, `host:db1`); a
 * run names one label or none. Text: lower-case letters, digits, `-`, `_`, `.` and `:`, with a letter or digit at both ends.
 */

/** As long as a name in DNS: a label may be one. */
export const workerLabelMaxChars = 63;
/** Each label is six queues that a worker listens to. */
export const workerLabelsMaxCount = 16;
const labelText = /^[a-z0-9](?:[a-z0-9._:-]*[a-z0-9])?$/u;

export const workerLabelMessage =
  `must be at most ${workerLabelMaxChars} lower-case letters, digits, '-', '_', '.' or ':', ` +
  'with a letter or digit at both ends, such as site-berlin or host:db1';

export function isWorkerLabel(text: string): boolean {
  return text.length <= workerLabelMaxChars && labelText.test(text);
}

/** Reads a setting such as `site-berlin,host:db1`; a label given twice counts once. Empty is none. Code: configuration_invalid. */
export function parseWorkerLabels(text: string): string[] {
  const labels = [...new Set(text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()])))];
  const wrong = labels.find((label) => !isWorkerLabel(label));
  if (wrong !== undefined) {
    throw new HoldfastError('configuration_invalid', `${JSON.stringify(wrong)} is no label of a worker`, {
      hint: `each ${workerLabelMessage}`,
    });
  }
  if (labels.length <= workerLabelsMaxCount) return labels;
  throw new HoldfastError('configuration_invalid', `a worker carries at most ${workerLabelsMaxCount} labels; these are ${labels.length}`);
}

/** What a worker says of itself. */
export interface WorkerRoute {
  readonly labels: readonly string[];
  /** True: it does what names one of its labels and nothing else. */
  readonly labelsOnly: boolean;
}

/** Whether a worker may do a run that names this label; null is the label of those that any may do. */
export function carriesLabel(worker: WorkerRoute, label: string | null): boolean {
  return label === null ? !worker.labelsOnly : worker.labels.includes(label);
}

/**
 * The label of runs that are of a whole repository: cleanups, copies, adoptions. A local folder is on the machines of those who write to
 * it, so it is the one label that all of its live configs name; a storage at a server is reached from anywhere.
 */
export function repositoryWorkerLabel(repository: {
  readonly isLocalFolder: boolean;
  /** Of each config that is not deleted, also of inactive ones: their backups lie there as well. */
  readonly configLabels: readonly (string | null)[];
}): string | null {
  const [label, ...others] = new Set(repository.configLabels);
  return repository.isLocalFolder && label !== undefined && others.length === 0 ? label : null;
}

/**
 * The label of a copy: of the repository that it is read from, else of the one that it is written to. Where two local folders have
 * different labels, the worker of the first has to see both.
 */
export function copyWorkerLabel(sourceLabel: string | null, targetLabel: string | null): string | null {
  return sourceLabel ?? targetLabel;
}

/** How long a run waits for a worker that may do it before somebody is told: workers are restarted within less. */
export const waitingAlertMs = 5 * 60_000;

/** A run that is queued. */
export interface WaitingRun {
  readonly workerLabel: string | null;
  readonly queuedAt: Date;
}

/**
 * Since when a run waits for a worker that may do it: since it was queued, or since the last such worker was gone. Null when there is one.
 * `lastServedAt`: when a worker that may do it was last alive; undefined for never.
 */
export function waitingSince(run: WaitingRun, aliveWorkers: readonly WorkerRoute[], lastServedAt: Date | undefined): Date | null {
  if (aliveWorkers.some((worker) => carriesLabel(worker, run.workerLabel))) return null;
  return lastServedAt !== undefined && lastServedAt > run.queuedAt ? lastServedAt : run.queuedAt;
}

/** What a run waits for, in words. */
export function waitingMessage(workerLabel: string | null): string {
  if (workerLabel === null) return 'no worker that takes runs without a label is alive';
  return `no worker with the label ${workerLabel} is alive; start one with it in HOLDFAST_WORKER_LABELS, or change the label that is asked for`;
}
