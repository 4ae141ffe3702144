import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Progress } from '@holdfast/jobs/progress';
import type { ApiClient } from '../api-client.ts';
import { readEventStream } from '../event-stream.ts';
import { finalStatuses, progressEventSchema, stateEventSchema, type Run } from './api-answers.ts';

export interface RunFollower extends AsyncDisposable {
  /**
   * Waits until a run is final, by whatever end, and returns its row. Events only wake the question and feed `onProgress`: what is
   * true is what the row says. Throws run_not_finished when nothing at all is heard of it for minutes.
   */
  follow<Row extends Run>(id: string, read: () => Promise<Row>, onProgress: (progress: Progress) => void): Promise<Row>;
  /** How many events have come so far. */
  counts(): { readonly state: number; readonly progress: number };
}

const pollIntervalMs = 1_000;
/** No change of the row and no progress for so long: a worker is missing or stuck. */
const silenceLimitMs = 180_000;

interface Listener {
  readonly onProgress: (progress: Progress) => void;
  readonly onState: () => void;
}

/** Listens to the event stream of one entity in the background. */
export function openRunFollower(client: ApiClient, entityId: string): RunFollower {
  const closing = new AbortController();
  const signal = client.options.signal === undefined ? closing.signal : AbortSignal.any([client.options.signal, closing.signal]);
  const listeners = new Map<string, Listener>();
  const counts = { state: 0, progress: 0 };
  let failure: Error | undefined;

  const listen = async (): Promise<void> => {
    for await (const event of readEventStream({ ...client.options, signal, query: { entityId } })) {
      const data: unknown = JSON.parse(event.data);
      if (event.type === 'progress') {
        counts.progress += 1;
        const parsed = progressEventSchema.safeParse(data).data;
        if (parsed !== undefined) listeners.get(parsed.subjectId)?.onProgress(parsed.progress);
      } else if (event.type === 'state') {
        counts.state += 1;
        const parsed = stateEventSchema.safeParse(data).data;
        if (parsed !== undefined) listeners.get(parsed.subjectId)?.onState();
      }
    }
  };
  const listening = listen().catch((error: unknown) => {
    failure = asHoldfastError(error);
    for (const listener of listeners.values()) listener.onState();
  });

  return {
    counts: () => ({ ...counts }),
    async follow(id, read, onProgress) {
      let wake = Promise.withResolvers<void>();
      let heardAt = performance.now();
      listeners.set(id, {
        onProgress: (progress) => {
          heardAt = performance.now();
          onProgress(progress);
        },
        onState: () => wake.resolve(),
      });
      try {
        for (let last = ''; ;) {
          if (failure !== undefined) throw failure;
          const row = await read();
          if (finalStatuses.includes(row.status)) return row;
          const state = `${row.status} ${row.attempt} ${row.errorMessage ?? ''}`;
          if (state !== last) heardAt = performance.now();
          last = state;
          if (performance.now() - heardAt > silenceLimitMs) throw stuck(row);
          await Promise.race([wake.promise, pause(pollIntervalMs, signal)]);
          client.options.signal?.throwIfAborted();
          wake = Promise.withResolvers<void>();
        }
      } finally {
        listeners.delete(id);
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await listening;
    },
  };
}

function stuck(row: Run): HoldfastError {
  const reason = row.errorMessage === null ? '' : ` (last error: ${row.errorMessage})`;
  return new HoldfastError('run_not_finished', `run ${row.id} is ${row.status} and nothing was heard of it for minutes${reason}`, {
    hint: 'see the logs of the workers',
  });
}

/** Resolves after the time or on abort, and holds nothing longer than that. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
