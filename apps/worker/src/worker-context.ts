import type { Database } from '@holdfast/database/open-database';
import type { MasterKey } from '@holdfast/database/sealed-secret';
import type { Clock } from '@holdfast/engine/clock';
import type { RepositoryCache } from '@holdfast/engine/repository-cache';
import type { Queues } from '@holdfast/jobs/queues';
import type { DiskCache } from '@holdfast/storage/cache/disk-cache';
import type { Logger } from 'pino';
import type { WorkerConfig } from './config.ts';
import type { StorageMetrics } from './metrics/storage-metrics.ts';
import type { RunsInHand } from './runs-in-hand.ts';
import type { WorkerTiming } from './timing.ts';

/** What one worker process has: opened by start-workers.ts, passed to everything below it. */
export interface WorkerContext {
  readonly workerId: string;
  readonly hostname: string;
  readonly username: string;
  readonly config: WorkerConfig;
  readonly masterKey: MasterKey;
  readonly database: Database;
  readonly queues: Queues;
  readonly inHand: RunsInHand;
  readonly clock: Clock;
  /** Keys, and indexes, of the repositories that runs have opened. */
  readonly repositories: RepositoryCache;
  /** What repeats of storages at servers, on this machine's disk; null when nothing is kept. */
  readonly storageCache: DiskCache | null;
  readonly storageMetrics: StorageMetrics;
  readonly timing: WorkerTiming;
  readonly logger: Logger;
}
