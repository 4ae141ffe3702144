import { hostname } from 'node:os';
import { randomUUID } from 'node:crypto';
import { withAdvisoryLock } from '@holdfast/database/advisory-lock';
import { assertMigrated } from '@holdfast/database/migrate';
import { openDatabase } from '@holdfast/database/open-database';
import { sweepStorageTests } from '@holdfast/database/storage-tests';
import { announceWaiting } from '@holdfast/database/waiting-runs';
import { registerWorker, sweepWorkers } from '@holdfast/database/workers';
import { systemClock, type Clock } from '@holdfast/engine/clock';
import { processUser } from '@holdfast/engine/process-user';
import { openRepositoryCache, type RepositoryCacheCounts } from '@holdfast/engine/repository-cache';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { deriveBrowseKey } from '@holdfast/jobs/browse/request-signature';
import { createQueueBackend, type QueueBackend } from '@holdfast/jobs/queue-backend';
import { openQueues } from '@holdfast/jobs/queues';
import { nextTick } from '@holdfast/policy/schedule';
import { endOrphanServers } from '@holdfast/sources/postgresql/recovery/server-folder';
import { openDiskCache, type DiskCache } from '@holdfast/storage/cache/disk-cache';
import type { Logger } from 'pino';
import { thawOverdue } from './application-data/thaw-overdue.ts';
import { startCancelListener } from './cancel-listener.ts';
import type { WorkerConfig } from './config.ts';
import { heartbeat, workerIdentity } from './heartbeat.ts';
import { openBrowserPool, type BrowserPool } from './browse/browser-pool.ts';
import { browseRoutes } from './browse/browse-routes.ts';
import { openBrowseServer, type BrowseServer } from './browse/browse-server.ts';
import { openMetricsServer, type MetricsServer } from './metrics/metrics-server.ts';
import { metricsText } from './metrics/metrics-text.ts';
import { createStorageMetrics } from './metrics/storage-metrics.ts';
import { openWorkers, runWorks, type RunWorks } from './open-workers.ts';
import { startPeriodicDuty, type PeriodicDuty, type PeriodicDutyOptions } from '@holdfast/jobs/periodic-duty';
import { probeStorages } from './probe-storages.ts';
import { createErrorLog } from './queue-error-log.ts';
import { keepOwnLabelsPaused, reconcile } from './reconcile.ts';
import { createRunsInHand } from './runs-in-hand.ts';
import { sweepScratchFolders } from './scratch-folder.ts';
import { shutDown } from './shutdown.ts';
import { productionTiming, type WorkerTiming } from './timing.ts';
import { watchSlots } from './watch-slots.ts';
import type { WorkerContext } from './worker-context.ts';

export interface RunningWorker {
  readonly workerId: string;
  readonly backendKind: QueueBackend['kind'];
  /** Where it answers `GET /metrics`; null for nowhere. */
  readonly metricsPort: number | null;
  /** Where it answers the API's browse requests; undefined for nowhere. */
  readonly browseUrl: string | undefined;
  /** What is kept of repositories from run to run, and how often that helped. */
  repositoryCounts(): RepositoryCacheCounts;
  /** Takes no more jobs, gives those in hand the grace to end, interrupts the rest, closes everything. Calling it twice is no error. */
  stop(): Promise<void>;
}

/** Connections to PostgreSQL: a few for each run's rows and commit, three for duties under a lock and as many for their rows. */
const spareConnections = 6;
/** Whoever asked for a storage to be tried has waited for seconds. */
const keptStorageTestMs = 10 * 60_000;

/**
 * Opens database and queues and begins to take jobs. Redis may be away: jobs are taken once it is back.
 * Codes: database_unreachable, queue_unreachable (queues on PostgreSQL), configuration_invalid; nothing is left open then.
 */
export async function startWorkers(
  config: WorkerConfig,
  logger: Logger,
  options: { readonly timing?: Partial<WorkerTiming>; readonly works?: Partial<RunWorks>; readonly clock?: Clock } = {},
): Promise<RunningWorker> {
  const workerId = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const log = logger.child({ workerId });
  const timing = { ...productionTiming, ...options.timing };
  const onError = createErrorLog(log);
  const backend = createQueueBackend({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, nextTick });

  await using opened = new AsyncDisposableStack();
  const poolSize = config.concurrency * 4 + spareConnections;
  const database = opened.use(await openDatabase({ url: config.databaseUrl, poolSize, applicationName: 'holdfast-worker' }));
  await assertMigrated(database);
  const queues = opened.use(await openQueues(backend, { onError }));
  const repositories = opened.use(openRepositoryCache());
  const context: WorkerContext = {
    workerId,
    hostname: hostname(),
    username: processUser().username,
    config,
    masterKey: config.masterKey,
    database,
    queues,
    inHand: createRunsInHand(),
    repositories,
    storageCache: openStorageCache(config, log),
    storageMetrics: createStorageMetrics(),
    clock: options.clock ?? systemClock,
    timing,
    logger: log,
  };
  const metricsServer = await serveMetrics(context);
  if (metricsServer !== null) opened.use(metricsServer);
  const browseServer = await serveBrowse(context, opened.use(openBrowserPool(context)));
  if (browseServer !== null) opened.use(browseServer);
  const browseUrl = browseServer?.url;
  await registerWorker(database.client, workerIdentity(context, browseUrl));
  await warnOfConfiguration(backend, log);
  await keepOwnLabelsPaused(context);

  const workers = openWorkers(context, { ...runWorks, ...options.works }, backend, onError);
  const duties = startDuties(context, browseUrl);
  opened.use(startCancelListener(context));
  for (const worker of workers) {
    // Resolves when the worker is closed; what goes wrong meanwhile is told to onError.
    worker.run().catch((error: unknown) => log.error({ err: error, queue: worker.name }, 'a queue is no longer worked on'));
  }
  const stack = opened.move();
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= shutDown(context, { workers, duties, browseServer, rest: stack }));
  const metricsPort = metricsServer?.port ?? null;
  return { workerId, backendKind: backend.kind, metricsPort, browseUrl, repositoryCounts: () => repositories.counts(), stop };
}

/** Null when it is turned off. */
function openStorageCache({ storageCacheDir: folder, storageCacheBytes: maxBytes }: WorkerConfig, logger: Logger): DiskCache | null {
  if (maxBytes === 0) return null;
  const onTrouble = (error: unknown): void =>
    logger.warn({ err: error, folder }, 'the disk of the storage cache refuses; runs go on without');
  return openDiskCache({ folder, maxBytes, onTrouble });
}

async function serveBrowse(context: WorkerContext, pool: BrowserPool): Promise<BrowseServer | null> {
  const { browseHost: host, browsePort: port, browseUrl: url } = context.config;
  const key = deriveBrowseKey(context.masterKey.bytes);
  const routes = browseRoutes(context, pool);
  return await openBrowseServer({ host, port, url, key, routes, now: () => new Date(), logger: context.logger });
}

async function serveMetrics({ config, storageMetrics, storageCache, logger }: WorkerContext): Promise<MetricsServer | null> {
  const { metricsHost: host, metricsPort: port } = config;
  if (port === undefined) return null;
  return await openMetricsServer({ host, port, text: () => metricsText(storageMetrics.metrics(storageCache?.counts() ?? null)), logger });
}

function startDuties(context: WorkerContext, browseUrl: string | undefined): PeriodicDuty[] {
  const { database, timing, logger, config } = context;
  const duty = (name: string, intervalMs: number, run: PeriodicDutyOptions['run']): PeriodicDuty =>
    startPeriodicDuty({ name, intervalMs, logger, run });
  return [
    duty('heartbeat', timing.heartbeatMs, () => heartbeat(context, browseUrl)),
    duty('reconcile', timing.reconcileMs, () => withAdvisoryLock(database, 'reconcile', () => reconcile(context))),
    duty('probe', timing.probeMs, () => withAdvisoryLock(database, 'probeStorages', () => probeStorages(context))),
    duty('slots', timing.slotsMs, (stopping) =>
      withAdvisoryLock(database, 'watchSlots', (lost) => watchSlots(context, AbortSignal.any([stopping, lost]))),
    ),
    duty('thaw', timing.reconcileMs, (stopping) => thawOverdue(context, stopping)),
    duty('waiting', timing.waitingMs, () =>
      withAdvisoryLock(database, 'watchWaiting', () => announceWaiting(database, { afterMs: timing.waitingAlertMs })),
    ),
    duty('sweep', timing.sweepMs, async () => {
      await sweepScratchFolders(config.scratchDir, database);
      await endOrphanServers(config.scratchDir);
      await sweepWorkers(database.client);
      await sweepStorageTests(database.client, new Date(context.clock.now().getTime() - keptStorageTestMs));
    }),
  ];
}

async function warnOfConfiguration(backend: QueueBackend, logger: Logger): Promise<void> {
  try {
    for (const warning of await backend.checkConfiguration()) logger.warn(warning);
  } catch (error) {
    const { code, message } = asHoldfastError(error);
    logger.warn({ code }, `${message}; jobs are taken once it does`);
  }
}
