import { HoldfastError } from '@holdfast/errors/holdfast-error';
import {
  createPostgresBackend,
  createRedisBackend,
  Queue,
  QueueEvents,
  QueueEventsProducer,
  runMigrations,
  type AdvancedOptions,
  type ConnectionOptions,
  type Job,
  type WorkerOptions,
} from 'bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { GatedWorker } from './gated-worker.ts';
import { jobDefaults } from './job-defaults.ts';
import type { JobPayload } from './payloads.ts';
import { isLabelledQueue, postgresqlSchema, redisKeyPrefix, type AnyQueueName, type QueueName, type RunKind } from './queue-names.ts';
import { createPooledPostgresql } from './pooled-postgresql.ts';
import type { SlotGate } from './slot-gate.ts';

/**
 * The one file in which queues on Redis and queues on PostgreSQL differ: how they are constructed. Everybody else gets the same
 * Queue, Worker and QueueEvents and cannot tell.
 *
 * Producers fail fast when the server is away (a request wants an answer, its row is safe); workers wait for it for ever.
 */
export type JobQueue = Queue<JobPayload, unknown>;
export type JobWorker = GatedWorker<JobPayload, unknown>;
export type QueueJob = Job<JobPayload, unknown>;
export type JobProcessor = (job: QueueJob, token?: string, signal?: AbortSignal) => Promise<unknown>;
export type JobWorkerOptions = Omit<WorkerOptions, 'connection' | 'prefix' | 'autorun'>;
export type OnBackendError = (error: Error, queue: AnyQueueName) => void;

export interface QueueBackend {
  readonly kind: 'redis' | 'postgresql';
  /** Readies the server's side (PostgreSQL: the queue's tables). Repeating it is no error. Throws queue_unreachable. */
  prepare(): Promise<void>;
  /** What about the server endangers jobs, in words for the operator; empty when all is well. Throws queue_unreachable. */
  checkConfiguration(): Promise<string[]>;
  openQueue(name: AnyQueueName, onError: OnBackendError): JobQueue;
  /** The worker does not take jobs until `run()` is called on it. Slots of a gate bound the jobs of all that share it. */
  openWorker(
    name: AnyQueueName,
    processor: JobProcessor,
    options: JobWorkerOptions & { readonly slots?: SlotGate | undefined },
    onError: OnBackendError,
  ): JobWorker;
  openQueueEvents(name: QueueName, onError: OnBackendError): QueueEvents;
  /** Tells the listeners of a queue what did not happen on it: progress of a run that is on the queue of a label. */
  openEventsProducer(name: RunKind, onError: OnBackendError): QueueEventsProducer;
  /** Ends what the queues of labels have in common, once they are closed. What is opened afterwards makes it anew. */
  close(): Promise<void>;
}

export interface QueueBackendOptions {
  /** When given, queues live in Redis, else in the database. */
  readonly redisUrl?: string | undefined;
  readonly databaseUrl: string;
  /** For tests that share one server. */
  readonly redisPrefix?: string;
  /** When a job scheduler ticks next. Without it the queue's own parser decides, which errs near some changes of the clocks. */
  readonly nextTick?: NextTick;
}

export type NextTick = (schedule: { readonly pattern: string; readonly timeZone: string }, after: Date) => Date | undefined;

/** How long a connection may take: a request waits for it. */
const connectTimeoutMs = 2_000;
/** Longest wait between two tries to reach Redis again: jobs wait as long after its return. */
const maxReconnectDelayMs = 2_000;
/** Each Queue, Worker and QueueEvents owns a pool; PostgreSQL has 100 connections for all. */
const queuePoolSize = 2;
const workerPoolSize = 3;
/** Entries kept of a queue's own event stream: it only carries progress to those who listen now. */
const maxEventStreamLength = 1_000;

export function createQueueBackend(options: QueueBackendOptions): QueueBackend {
  const settings = schedulerSettings(options.nextTick);
  return options.redisUrl === undefined
    ? createPostgresqlQueueBackend(options.databaseUrl, settings)
    : createRedisQueueBackend(options.redisUrl, options.redisPrefix ?? redisKeyPrefix, settings);
}

/** The queue asks for the tick after `millis`; both sides of it, adding a scheduler and taking its job, have to agree. */
function schedulerSettings(nextTick: NextTick | undefined): AdvancedOptions {
  if (nextTick === undefined) return {};
  return {
    repeatStrategy: (millis, { pattern = '', tz: timeZone = 'UTC' }) => nextTick({ pattern, timeZone }, new Date(millis))?.getTime(),
  };
}

function createRedisQueueBackend(redisUrl: string, prefix: string, settings: AdvancedOptions): QueueBackend {
  const common = {
    connectTimeout: connectTimeoutMs,
    retryStrategy: (times: number) => Math.min(100 * 2 ** Math.min(times, 10), maxReconnectDelayMs),
  };
  return {
    kind: 'redis',
    async close() {
      // nothing in common: each queue has connections of its own
    },
    async prepare() {
      // nothing to ready: keys come into being by use
    },
    checkConfiguration: () => checkRedisConfiguration(redisUrl),
    ...constructors({
      factory: createRedisBackend,
      producer: { url: redisUrl, ...common, enableOfflineQueue: false, maxRetriesPerRequest: 1 },
      worker: { url: redisUrl, ...common, maxRetriesPerRequest: null },
      listener: { url: redisUrl, ...common, maxRetriesPerRequest: null },
      labelled: null,
      prefix,
      settings,
    }),
  };
}

async function checkRedisConfiguration(redisUrl: string): Promise<string[]> {
  const redis = new Redis(redisUrl, {
    connectTimeout: connectTimeoutMs,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  // The rejected connect() below tells the same.
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    const memory = await redis.info('memory');
    const policy = /^maxmemory_policy:(\S+)/mu.exec(memory)?.[1];
    if (policy === undefined || policy === 'noeviction') return [];
    return [`redis has maxmemory-policy ${policy}: it may drop jobs when memory is short; set it to noeviction`];
  } catch (error) {
    throw new HoldfastError('queue_unreachable', 'redis does not answer', { cause: error });
  } finally {
    redis.disconnect();
  }
}

function createPostgresqlQueueBackend(databaseUrl: string, settings: AdvancedOptions): QueueBackend {
  const connection = (max: number) => ({
    connectionString: databaseUrl,
    schema: postgresqlSchema,
    application_name: 'holdfast-queue',
    max,
    connectionTimeoutMillis: connectTimeoutMs,
    // Commits that a crash of the server takes back are filled in again from the rows, so nobody waits for the disk.
    options: '-c synchronous_commit=off',
  });
  const { options, ...settingsOfPool } = connection(0);
  const labelled = createPooledPostgresql({ ...settingsOfPool, options: `${options} -c search_path="${postgresqlSchema}"` });
  return {
    kind: 'postgresql',
    close: () => labelled.close(),
    prepare: () => migrateQueueSchema(databaseUrl),
    async checkConfiguration() {
      return [];
    },
    ...constructors({
      // The types of the two backends differ in parts that nobody here touches; one type keeps everybody else free of the difference.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      factory: createPostgresBackend as unknown as typeof createRedisBackend,
      producer: connection(queuePoolSize),
      worker: connection(workerPoolSize),
      labelled: labelled.pool,
      listener: connection(1),
      prefix: redisKeyPrefix,
      settings,
    }),
  };
}

interface Connections {
  readonly factory: typeof createRedisBackend;
  readonly producer: ConnectionOptions;
  readonly worker: ConnectionOptions;
  readonly listener: ConnectionOptions;
  /** What all queues of labels have in common, when they do. */
  readonly labelled: ConnectionOptions | null;
  readonly prefix: string;
  readonly settings: AdvancedOptions;
}

function constructors(from: Connections): Pick<QueueBackend, 'openQueue' | 'openWorker' | 'openQueueEvents' | 'openEventsProducer'> {
  const { factory, prefix, settings } = from;
  const connectionOf = (name: AnyQueueName, own: ConnectionOptions): ConnectionOptions =>
    from.labelled !== null && isLabelledQueue(name) ? from.labelled : own;
  return {
    openQueue(name, onError) {
      const streams = { events: { maxLen: maxEventStreamLength } };
      const queue: JobQueue = new Queue(
        name,
        { connection: connectionOf(name, from.producer), prefix, settings, defaultJobOptions: jobDefaults, streams },
        factory,
      );
      return queue.on('error', (error) => onError(error, name));
    },
    openWorker(name, processor, { slots, ...options }, onError) {
      const worker: JobWorker = new GatedWorker(
        name,
        processor,
        { ...options, connection: connectionOf(name, from.worker), prefix, settings, autorun: false },
        factory,
      );
      if (slots !== undefined) worker.shareSlots(slots);
      return worker.on('error', (error) => onError(error, name));
    },
    openEventsProducer(name, onError) {
      return new QueueEventsProducer(name, { connection: from.producer, prefix }, factory).on('error', (error) => onError(error, name));
    },
    openQueueEvents(name, onError) {
      return new QueueEvents(name, { connection: from.listener, prefix }, factory).on('error', (error) => onError(error, name));
    },
  };
}

async function migrateQueueSchema(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: connectTimeoutMs });
  // A connection that breaks between two queries is told by the next one.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await runMigrations(client, postgresqlSchema);
  } catch (error) {
    throw new HoldfastError('queue_unreachable', 'the queue tables in postgresql cannot be readied', { cause: error });
  } finally {
    await client.end().catch(() => undefined);
  }
}
