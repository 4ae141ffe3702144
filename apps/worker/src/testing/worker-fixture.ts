import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createBackupConfig, type BackupConfigInput } from '@holdfast/database/backup-configs';
import { createBackupJob } from '@holdfast/database/backup-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { createTestDatabase, type TestDatabase } from '@holdfast/database/testing/test-database';
import { createQueueBackend } from '@holdfast/jobs/queue-backend';
import { openQueues, type Queues } from '@holdfast/jobs/queues';
import type { RunKind } from '@holdfast/jobs/queue-names';
import { systemClock, type Clock } from '@holdfast/engine/clock';
import { missingRedis, startTestRedis, type TestRedis } from '@holdfast/jobs/testing/test-redis';
import { nextTick } from '@holdfast/policy/schedule';
import { readWorkerConfig, type WorkerConfig } from '../config.ts';
import { createLogger } from '../logger.ts';
import type { RunWorks } from '../open-workers.ts';
import { startWorkers, type RunningWorker } from '../start-workers.ts';
import type { WorkerTiming } from '../timing.ts';

/** A worker's surroundings for live tests: a database of its own, a queue on either backend, and folders to back up and recover to. */
export interface WorkerFixture extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly redis: TestRedis | null;
  readonly queues: Queues;
  readonly config: WorkerConfig;
  /** The environment that `config` was read from, for a worker in a process of its own. */
  readonly environment: Record<string, string>;
  /** `<folder>/source`, `/storage`, `/target` and `/scratch` are the allowed places. */
  readonly folder: string;
  startWorker(more?: {
    timing?: Partial<WorkerTiming>;
    config?: Partial<WorkerConfig>;
    works?: Partial<RunWorks>;
    clock?: Clock;
  }): Promise<RunningWorker>;
  createConfig(more?: Partial<BackupConfigInput>): Promise<string>;
  /** A backup job, committed and enqueued as the API does it. */
  submitBackup(configId: string, options?: { enqueue?: boolean }): Promise<string>;
  /** The row's run columns once `isDone` likes them. */
  eventually(kind: RunKind, id: string, isDone: (row: RunRow) => boolean, timeoutMs?: number): Promise<RunRow>;
}

export interface RunRow {
  readonly status: string;
  readonly attempt: number;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly claimedBy: string | null;
}

/** What each suite runs on; the reason is given for what cannot be tested here. */
export const backends: readonly ('redis' | 'postgresql')[] = (await missingRedis()) === null ? ['redis', 'postgresql'] : ['postgresql'];

/** Everything happens soon, so that a test of what happens later is short. */
export const fastTiming: Partial<WorkerTiming> = {
  heartbeatMs: 300,
  reconcileMs: 400,
  probeMs: 500,
  slotsMs: 300,
  waitingMs: 300,
  lockDurationMs: 3_000,
  lockRenewMs: 1_000,
  stalledIntervalMs: 1_000,
  queuedForMs: 500,
  silentForMs: 2_000,
  heldForMs: 1_000,
  heldDelayMs: 300,
  lockWaitMs: 500,
  lockBackoffMs: 300,
};

const masterKey = Buffer.alloc(32, 7).toString('base64');
const pollMs = 50;

export const isFinal = (row: RunRow): boolean => ['completed', 'completed_with_warnings', 'failed', 'cancelled'].includes(row.status);

export async function openWorkerFixture(backendKind: 'redis' | 'postgresql'): Promise<WorkerFixture> {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-worker-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  for (const name of ['source', 'storage', 'target']) await mkdir(join(folder, name));
  const database = opened.use(await createTestDatabase());
  const redis = backendKind === 'redis' ? opened.use(await startTestRedis()) : null;
  const environment: Record<string, string> = {
    DATABASE_URL: database.url,
    ...(redis === null ? {} : { REDIS_URL: redis.url }),
    HOLDFAST_MASTER_KEY: masterKey,
    HOLDFAST_SOURCE_ROOTS: join(folder, 'source'),
    HOLDFAST_STORAGE_ROOTS: join(folder, 'storage'),
    HOLDFAST_TARGET_ROOTS: join(folder, 'target'),
    HOLDFAST_SCRATCH_DIR: join(folder, 'scratch'),
    HOLDFAST_SHUTDOWN_GRACE_SECONDS: '2',
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
  };
  const config = readWorkerConfig(environment);
  const backend = createQueueBackend({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, nextTick });
  const queues = opened.use(await openQueues(backend, { onError: () => undefined }));
  const workers: RunningWorker[] = [];
  opened.defer(async () => void (await Promise.all(workers.map((worker) => worker.stop()))));
  const entity = await database.db.client.businessEntity.create({ data: { name: 'tenant' } });
  const stack = opened.move();

  return {
    database,
    redis,
    queues,
    config,
    environment,
    folder,
    async startWorker({ timing = {}, config: settings = {}, works = {}, clock = systemClock } = {}) {
      const logger = createLogger(config, {});
      const worker = await startWorkers({ ...config, ...settings }, logger, { timing: { ...fastTiming, ...timing }, works, clock });
      workers.push(worker);
      return worker;
    },
    async createConfig(more = {}) {
      const path = join(folder, 'storage', 'repository');
      const input: BackupConfigInput = {
        businessEntityId: entity.id,
        name: 'config',
        backupType: 'file_system',
        source: { type: 'file_system', paths: [join(folder, 'source')] },
        retentionDays: 30,
        storageLocation: 'local',
        storageOptions: { type: 'local', path },
        locationKey: `local:${path}`,
        ...more,
      };
      const made = await inTransaction(database.db, (tx) => createBackupConfig(tx, '*', input, parseMasterKey(masterKey)));
      return made.id;
    },
    async submitBackup(backupConfigId, { enqueue = true } = {}) {
      const { row } = await inTransaction(database.db, (tx) => createBackupJob(tx, '*', { backupConfigId, execute: true }));
      if (enqueue) await queues.enqueueRun('backup', row.id, row.workerLabel);
      return row.id;
    },
    async eventually(kind, id, isDone, timeoutMs = 20_000) {
      const giveUpAtMs = performance.now() + timeoutMs;
      for (;;) {
        const row = await readRun(database, kind, id);
        if (isDone(row)) return row;
        if (performance.now() > giveUpAtMs) throw new Error(`${kind} ${id} is still ${JSON.stringify(row)}`);
        await delay(pollMs);
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function readRun({ db }: TestDatabase, kind: RunKind, id: string): Promise<RunRow> {
  const query = { where: { id }, select: { status: true, attempt: true, errorCode: true, errorMessage: true, claimedBy: true } } as const;
  switch (kind) {
    case 'backup':
      return db.client.backupJob.findUniqueOrThrow(query);
    case 'verify':
      return db.client.backupVerification.findUniqueOrThrow(query);
    case 'recovery':
      return db.client.recoveryJob.findUniqueOrThrow(query);
    case 'cleanup':
      return db.client.cleanupJob.findUniqueOrThrow(query);
    case 'copy':
      return db.client.copyJob.findUniqueOrThrow(query);
    case 'adopt':
      return db.client.adoptionJob.findUniqueOrThrow(query);
  }
  throw new Error(`no kind of run: ${String(kind)}`);
}
