import { eventsChannel } from '@holdfast/database/events';
import { listen } from '@holdfast/database/listen';
import { assertMigrated } from '@holdfast/database/migrate';
import { openDatabase } from '@holdfast/database/open-database';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { watchProgress } from '@holdfast/jobs/progress-events';
import { createQueueBackend } from '@holdfast/jobs/queue-backend';
import { openQueues } from '@holdfast/jobs/queues';
import { nextTick } from '@holdfast/policy/schedule';
import type { Logger } from 'pino';
import { readApiConfig, type ApiConfig } from './config.ts';
import { createEventFeed } from './event-feed.ts';
import { createLogger } from './logger.ts';
import { buildServer } from './server.ts';
import { startWaitingDuty } from './waiting-duty.ts';

/** Exit codes: 0 after a clean stop, 1 when it could not start, 2 when the clean stop took too long. */
const notStartedExitCode = 1;
const forcedExitCode = 2;

/** Runs until `signal` is aborted; everything is closed when it returns. */
async function run(config: ApiConfig, logger: Logger, signal: AbortSignal): Promise<void> {
  const warn = (what: string) => (error: unknown) => logger.warn({ code: asHoldfastError(error).code, err: error }, what);
  await using database = await openDatabase({ url: config.databaseUrl, applicationName: 'holdfast-api' });
  await assertMigrated(database);
  const backend = createQueueBackend({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, nextTick });
  await using queues = await openQueues(backend, { onError: warn('the queue is in trouble') });
  await using eventFeed = await createEventFeed({ database, onError: warn('events cannot be read; it is tried again') });
  await using watches = new AsyncDisposableStack();
  const onListenError = warn('notifications of the database are lost; they are listened to again');
  watches.use(listen(config.databaseUrl, [eventsChannel], () => eventFeed.wake(), { onError: onListenError }));
  const onProgressError = warn('progress of workers is lost for a while');
  watches.use(watchProgress(backend, { onProgress: (event) => eventFeed.progress(event), onError: onProgressError }));
  const duty = startWaitingDuty(database, logger);
  watches.defer(() => duty.stop());
  const server = await buildServer({ config, database, queues, eventFeed, logger, now: () => new Date() });
  try {
    const address = await server.listen({ host: config.host, port: config.port, listenTextResolver: () => 'listening' });
    logger.info({ event: 'ready', address }, `holdfast api ready at ${address}`);
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  } finally {
    await server.close();
  }
}

const stopping = new AbortController();

function stopBounded(config: ApiConfig, logger: Logger, name: string): void {
  // The second signal is somebody who does not want to wait.
  if (stopping.signal.aborted) process.exit(forcedExitCode);
  logger.info(`${name}: stopping`);
  setTimeout(() => {
    logger.error(`not stopped within ${config.shutdownGraceMs} ms; giving up`);
    process.exit(forcedExitCode);
  }, config.shutdownGraceMs).unref();
  stopping.abort();
}

/** Says on one line why it cannot go on: to the log, or beside it when the settings for a log are what is wrong. */
function exitNotStarted(error: unknown, logger?: Logger): never {
  const { code, message, hint } = asHoldfastError(error);
  if (logger === undefined) process.stderr.write(`${JSON.stringify({ level: 'fatal', time: Date.now(), code, msg: message, hint })}\n`);
  else logger.fatal({ code, hint, err: error }, message);
  process.exit(notStartedExitCode);
}

function readSettings(): ApiConfig {
  try {
    return readApiConfig(process.env);
  } catch (error) {
    return exitNotStarted(error);
  }
}

const config = readSettings();
const logger = createLogger(config);
try {
  process.on('SIGTERM', () => stopBounded(config, logger, 'SIGTERM'));
  process.on('SIGINT', () => stopBounded(config, logger, 'SIGINT'));
  await run(config, logger, stopping.signal);
  logger.info('stopped');
  // Handles of a server that is gone would keep the process; everything of ours is closed.
  process.exit(0);
} catch (error) {
  exitNotStarted(error, logger);
}
