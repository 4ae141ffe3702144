import type { Transaction } from '@holdfast/database/open-database';
import { readLabelService, runWaitsSince } from '@holdfast/database/waiting-runs';
import { waitingMessage } from '@holdfast/policy/routing';
import type { runView } from './schemas/run-view.ts';

/** A worker that a run waits for because none that is alive may do it. */
export interface WaitingFor {
  readonly workerLabel: string | null;
  readonly since: string;
  readonly message: string;
}

type View = Pick<ReturnType<typeof runView>, 'status' | 'workerLabel' | 'queuedAt'>;
type Waiting<V> = V & { readonly waitingFor: WaitingFor | null };

/** Says of each run whether it waits for a worker that is not there, as the rows of the workers are now. */
export async function addWaiting<V extends View>(rows: Transaction, views: readonly V[]): Promise<Waiting<V>[]> {
  const service = views.some(({ status }) => status === 'queued') ? await readLabelService(rows) : null;
  return views.map((view) => {
    const { status, workerLabel, queuedAt } = view;
    if (service === null || status !== 'queued' || queuedAt === null) return { ...view, waitingFor: null };
    const since = runWaitsSince({ workerLabel, queuedAt: new Date(queuedAt) }, service);
    const waitingFor = since === null ? null : { workerLabel, since: since.toISOString(), message: waitingMessage(workerLabel) };
    return { ...view, waitingFor };
  });
}

/** addWaiting for one. */
export async function withWaiting<V extends View>(rows: Transaction, view: V): Promise<Waiting<V>> {
  const [waiting] = await addWaiting(rows, [view]);
  return waiting ?? { ...view, waitingFor: null };
}
