import type { OnBackendError } from '@holdfast/jobs/queue-backend';
import type { Logger } from 'pino';

/** While a server is away every connection tells of it every few seconds: one line in so long is enough. */
const quietMs = 30_000;

/** Logs errors of the queue's connections: the same words for the same queue once in half a minute. */
export function createErrorLog(logger: Logger, now: () => number = () => performance.now()): OnBackendError {
  const toldAtMs = new Map<string, number>();
  return (error, queue) => {
    const key = `${queue}: ${error.message}`;
    const atMs = now();
    if (atMs - (toldAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < quietMs) return;
    for (const [other, toldMs] of toldAtMs) if (atMs - toldMs >= quietMs) toldAtMs.delete(other);
    toldAtMs.set(key, atMs);
    logger.warn({ queue }, `queue: ${error.message}`);
  };
}
