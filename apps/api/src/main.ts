import { openDatabase } from '@holdfast/database/open-database';
import { EVENTS_CHANNEL } from '@holdfast/database/events';
import { listen } from '@holdfast/database/listen';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { watchProgress } from '@holdfast/jobs/progress-events';
import { createQueueBackend } from '@holdfast/jobs/queue-backend';
import { openQueues } from '@holdfast/jobs/queues';
import { readApiConfig, type ApiConfig } from './config.ts';
import { createEventFeed, type EventFeed } from './event-feed.ts';
import { buildServer } from './server.ts';

/** Exit codes: 0 after a clean stop, 1 when it could not start, 2 when the clean stop took too long. */
const EXIT_NOT_STARTED = 1;
const EXIT_FORCED = 2;

/** One line of JSON, as the server's own log. */
function logLine(level: 'info' | 'warn' | 'error', message: string, fields: object = {}): void {
  const line = JSON.stringify({ level, time: Date.now(), pid: process.pid, ...fields, msg: message });
  process[level === 'error' ? 'stderr' : 'stdout'].write(`${line}\n`);
}

const reasonOf = (error: unknown) =>
  isHoldfastError(error)
    ? { code: error.code, reason: error.message, hint: error.hint }
    : { code: 'internal', reason: error instanceof Error ? (error.stack ?? error.message) : String(error) };

const warn = (what: string) => (error: unknown) => logLine('warn', what, reasonOf(error));

/** Runs until `signal` is aborted; everything is closed when it returns. */
async function run(config: ApiConfig, signal: AbortSignal): Promise<void> {
  await using database = await openDatabase({ url: config.databaseUrl, applicationName: 'holdfast-api' });
  const backend = createQueueBackend({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl });
  await using queues = await openQueues(backend, { onError: warn('the queue is in trouble') });
  await using eventFeed: EventFeed = await createEventFeed({ database, onError: warn('events cannot be read; it is tried again') });
  await using watches = new AsyncDisposableStack();
  const onListenError = warn('notifications of the database are lost; they are listened to again');
  watches.use(listen(config.databaseUrl, [EVENTS_CHANNEL], () => eventFeed.wake(), { onError: onListenError }));
  const onProgressError = warn('progress of workers is lost for a while');
  watches.use(watchProgress(backend, { onProgress: (event) => eventFeed.progress(event), onError: onProgressError }));
  const server = await buildServer({ config, database, queues, eventFeed, now: () => new Date() });
  try {
    const address = await server.listen({ host: config.host, port: config.port });
    logLine('info', `holdfast api ready at ${address}`, { event: 'ready', address });
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  } finally {
    await server.close();
  }
}

const stopping = new AbortController();

function stopBounded(config: ApiConfig, name: string): void {
  // The second signal is somebody who does not want to wait.
  if (stopping.signal.aborted) process.exit(EXIT_FORCED);
  logLine('info', `${name}: stopping`);
  setTimeout(() => {
    logLine('error', `not stopped within ${config.shutdownGraceMs} ms; giving up`);
    process.exit(EXIT_FORCED);
  }, config.shutdownGraceMs).unref();
  stopping.abort();
}

try {
  const config = readApiConfig(process.env);
  process.on('SIGTERM', () => stopBounded(config, 'SIGTERM'));
  process.on('SIGINT', () => stopBounded(config, 'SIGINT'));
  await run(config, stopping.signal);
  logLine('info', 'stopped');
  // Handles of a server that is gone would keep the process; everything of ours is closed.
  process.exit(0);
} catch (error) {
  logLine('error', 'holdfast api stopped', reasonOf(error));
  process.exit(EXIT_NOT_STARTED);
}
