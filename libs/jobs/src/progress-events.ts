import type { OnBackendError, QueueBackend } from './queue-backend.ts';
import { progressSchema, type Progress } from './progress.ts';
import { runKinds, type RunKind } from './queue-names.ts';
import { withDeadline } from './with-deadline.ts';

export interface ProgressEvent {
  readonly kind: RunKind;
  readonly id: string;
  readonly progress: Progress;
}

export interface ProgressWatch extends AsyncDisposable {
  /** Stops listening, within 3 s even when the server is gone. */
  close(): Promise<void>;
}

/** close() of a listener whose server is gone may never return. */
const closeTimeoutMs = 3_000;
/** Of these, so much for a connection that is still being made. */
const connectTimeoutMs = 1_000;

/**
 * Calls `onProgress` with what workers report from now on. Values may be lost and are never repeated; the connection is made again
 * by itself when it breaks. Values of another shape (a newer worker's) are left out.
 */
export function watchProgress(
  backend: QueueBackend,
  options: { onProgress: (event: ProgressEvent) => void; onError: OnBackendError },
): ProgressWatch {
  const listeners = runKinds.map((kind) => {
    const events = backend.openQueueEvents(kind, options.onError);
    events.on('progress', ({ jobId, data }) => {
      const parsed = progressSchema.safeParse(data);
      if (parsed.success) options.onProgress({ kind, id: jobId, progress: parsed.data });
    });
    return events;
  });

  let closing: Promise<unknown> | undefined;
  const close = async (): Promise<void> => {
    closing ??= Promise.allSettled(listeners.map((events) => closeListener(events)));
    await closing;
  };
  return { close, [Symbol.asyncDispose]: close };
}

/** A listener that is closed while it still connects would leave the connection open for ever. */
async function closeListener(events: ReturnType<QueueBackend['openQueueEvents']>): Promise<void> {
  const startedAtMs = performance.now();
  await withDeadline(events.waitUntilReady(), connectTimeoutMs).catch(() => undefined);
  await withDeadline(events.close(), closeTimeoutMs - (performance.now() - startedAtMs));
}
