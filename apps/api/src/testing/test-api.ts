import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { createEntity } from '@holdfast/database/entities';
import { eventsChannel } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import { listen } from '@holdfast/database/listen';
import type { Database } from '@holdfast/database/open-database';
import { claimReplicationSlot } from '@holdfast/database/replication-slots';
import { claimRun, finishRun, type RunOutcome } from '@holdfast/database/runs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { createTestDatabase } from '@holdfast/database/testing/test-database';
import { watchProgress } from '@holdfast/jobs/progress-events';
import { createQueueBackend, type QueueBackend } from '@holdfast/jobs/queue-backend';
import type { RunKind } from '@holdfast/jobs/queue-names';
import { openQueues, type Queues } from '@holdfast/jobs/queues';
import { nextTick } from '@holdfast/policy/schedule';
import { readApiConfig, type ApiConfig } from '../config.ts';
import { createEventFeed, type EventFeed } from '../event-feed.ts';
import { createLogger } from '../logger.ts';
import type { Role } from '../plugins/authentication.ts';
import { buildServer } from '../server.ts';

export const masterKey = Buffer.alloc(32, 9).toString('base64');

export interface TestApi extends AsyncDisposable {
  readonly server: FastifyInstance;
  readonly config: ApiConfig;
  readonly database: Database;
  readonly databaseUrl: string;
  readonly queues: Queues;
  readonly backend: QueueBackend;
  readonly eventFeed: EventFeed;
  /** Everything that was logged. */
  readonly logLines: string[];
  token(role: Role, entities?: readonly string[] | '*', subject?: string): string;
  /** Sends as an admin of all entities unless another token is given. */
  send(method: Method, path: string, body?: unknown, options?: SendOptions): Promise<LightMyRequestResponse>;
  addEntity(name: string): Promise<string>;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
export interface SendOptions {
  readonly token?: string | null;
  readonly headers?: Record<string, string>;
}

export interface TestApiOptions {
  readonly redisUrl?: string;
  readonly rateLimitPerMinute?: number;
  readonly trustedProxies?: string;
  readonly waitingAlertMs?: number;
  /** Stands in for the queues: for what happens when they do not answer. */
  readonly wrapQueues?: (queues: Queues) => Queues;
}

/** The whole API on a database and queues of its own. */
export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const stack = new AsyncDisposableStack();
  const { url, db: database } = stack.use(await createTestDatabase());
  const config = readApiConfig({
    DATABASE_URL: url,
    REDIS_URL: options.redisUrl,
    HOLDFAST_MASTER_KEY: masterKey,
    HOLDFAST_JWT_SECRET: 'a secret of the tests that is long enough',
    HOLDFAST_SOURCE_ROOTS: '/srv/data:/home',
    HOLDFAST_STORAGE_ROOTS: '/srv/backups',
    HOLDFAST_TARGET_ROOTS: '/srv/restored',
    HOLDFAST_DATABASE_HOSTS: 'db.internal,*.db.internal',
    HOLDFAST_STORAGE_HOSTS: 'sftp.internal:22,*.storage.internal',
    HOLDFAST_HOOK_HOSTS: 'app.internal',
    HOLDFAST_RATE_LIMIT_PER_MINUTE: String(options.rateLimitPerMinute ?? 100_000),
    HOLDFAST_TRUSTED_PROXIES: options.trustedProxies ?? '',
    LOG_LEVEL: 'debug',
  });
  const logLines: string[] = [];
  // No worker answers here but in the tests that stand in for one.
  const storageTestLimitMs = 1000;
  const logger = createLogger(config, { write: (line: string) => void logLines.push(line) });
  const onError = (error: unknown): void => logger.warn({ err: error }, 'trouble');
  const backend = createQueueBackend({ redisUrl: options.redisUrl, databaseUrl: url, nextTick, redisPrefix: `test-${randomUUID()}` });
  const queues = stack.use(await openQueues(backend, { onError }));
  const eventFeed = stack.use(await createEventFeed({ database, onError }));
  const listener = stack.use(listen(url, [eventsChannel], () => eventFeed.wake(), { onError }));
  await listener.ready;
  stack.use(watchProgress(backend, { onProgress: (event) => eventFeed.progress(event), onError }));
  const wrapped = options.wrapQueues?.(queues) ?? queues;
  const waiting = options.waitingAlertMs === undefined ? {} : { waitingAlertMs: options.waitingAlertMs };
  const server = await buildServer({
    config,
    database,
    queues: wrapped,
    eventFeed,
    logger,
    now: () => new Date(),
    storageTestLimitMs,
    ...waiting,
  });
  stack.defer(() => server.close());

  const token: TestApi['token'] = (role, entities = '*', subject = `${role} of the tests`) =>
    server.jwt.sign({ sub: subject, role, entities }, { expiresIn: '1h' });
  const admin = token('admin');
  const send: TestApi['send'] = (method, path, body, { token: given = admin, headers = {} } = {}) => {
    const request: InjectOptions = {
      method,
      url: `/api/backup${path}`,
      headers: { ...(given === null ? {} : { authorization: `Bearer ${given}` }), ...headers },
      ...(body === undefined ? {} : { payload: body as object }),
    };
    return server.inject(request);
  };
  return {
    server,
    config,
    database,
    databaseUrl: url,
    queues,
    backend,
    eventFeed,
    logLines,
    token,
    send,
    addEntity: async (name) => (await inTransaction(database, (tx) => createEntity(tx, { name }))).id,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export const configBody = (businessEntityId: string, more: object = {}) => ({
  businessEntityId,
  name: 'nightly',
  backupType: 'file_system',
  source: { type: 'file_system', paths: ['/srv/data/files'] },
  retentionDays: 30,
  storageLocation: 'local',
  storageOptions: { type: 'local', path: `/srv/backups/${businessEntityId}` },
  ...more,
});

export const backupResult = {
  snapshotId: 'ab'.repeat(32),
  filePath: '/srv/backups/x/snapshots/ab',
  fileSize: 5_000_000_000n,
  checksum: 'cd'.repeat(32),
  metadata: { filesNew: 3 },
};

/** What copies into a folder of its own beside that of `configBody`. */
export function copyBody(name: string, more: object = {}): object {
  return { storageLocation: 'local', storageOptions: { type: 'local', path: `/srv/backups/second ${name}` }, ...more };
}

/** Does what a worker would: takes the run and ends it. */
export async function endRun<K extends RunKind>(database: Database, kind: K, id: string, outcome: RunOutcome<K>): Promise<void> {
  const claim = await claimRun(database, kind, id, { workerId: 'test-worker' });
  if (claim === null) throw new Error(`${kind} ${id} could not be claimed`);
  await finishRun(database, claim, outcome);
}

/** Rows of every kind of one entity, as a tenant has them. */
export interface Tenant {
  readonly entityId: string;
  readonly configId: string;
  readonly repositoryId: string;
  /** Completed. */
  readonly jobId: string;
  readonly pendingJobId: string;
  readonly verificationId: string;
  readonly recoveryId: string;
  readonly cleanupId: string;
  readonly adoptionId: string;
  readonly encryptionKey: string;
  readonly planId: string;
  /** Pending, of a copy config. */
  readonly copyId: string;
  readonly copyConfigId: string;
  readonly slotId: string;
}

export async function addTenant(api: TestApi, name: string): Promise<Tenant> {
  const create = async (path: string, body: object): Promise<{ id: string; [field: string]: unknown }> => {
    const answer = await api.send('POST', path, body);
    if (answer.statusCode >= 300) throw new Error(`POST ${path}: ${answer.body}`);
    return answer.json();
  };
  const entityId = await api.addEntity(name);
  const encryptionKey = `key of ${name}`;
  const config = await create('/configs', configBody(entityId, { encryptionKey }));
  const job = await create('/jobs', { backupConfigId: config.id });
  await endRun(api.database, 'backup', job.id, { status: 'completed', result: backupResult });
  const pending = await create('/jobs', { backupConfigId: config.id, execute: false });
  const verification = await create(`/jobs/${job.id}/verify`, { verificationType: 'checksum' });
  const recovery = await create('/recovery', {
    backupJobId: job.id,
    recoveryType: 'full',
    targetLocation: '/srv/restored/x',
    execute: false,
  });
  const cleanup = await create('/maintenance/cleanup', { businessEntityId: entityId });
  const { adoption } = await create(`/repositories/${String(config['repositoryId'])}/adopt`, {});
  const plan = await create('/dr-plans', { businessEntityId: entityId, name: 'fire', priority: 1, rto: 60, rpo: 30 });
  const copy = await create(
    `/repositories/${String(config['repositoryId'])}/copies`,
    copyBody(name, { schedule: '0 5 * * *', execute: false }),
  );
  const slotId = await addReplicationSlot(api.database, config.id);
  return {
    entityId,
    configId: config.id,
    repositoryId: String(config['repositoryId']),
    jobId: job.id,
    pendingJobId: pending.id,
    verificationId: verification.id,
    recoveryId: recovery.id,
    cleanupId: (cleanup['items'] as { id: string }[])[0]?.id ?? '',
    adoptionId: (adoption as { id: string }).id,
    encryptionKey,
    planId: plan.id,
    copyId: copy.id,
    copyConfigId: String(copy['copyConfigId']),
    slotId,
  };
}

/** As a worker would, for a config that takes WAL. */
async function addReplicationSlot(database: Database, configId: string): Promise<string> {
  const connection = { host: 'db.internal', port: 5432, user: 'streamer' };
  const place = { server: 'db.internal:5432', systemIdentifier: '1', connection, place: 'streamer@db.internal:5432' };
  const slot = { backupConfigId: configId, baseConfigId: configId, name: `of_${configId}`, ...place, password: `streams for ${configId}` };
  return (await inTransaction(database, (tx) => claimReplicationSlot(tx, slot, parseMasterKey(masterKey)))).id;
}

export async function eventually<T>(probe: () => T | undefined | Promise<T | undefined>, timeoutMs = 10_000): Promise<T> {
  for (const deadline = Date.now() + timeoutMs; ; await delay(20)) {
    const value = await probe();
    if (value !== undefined) return value;
    if (Date.now() > deadline) throw new Error(`not seen within ${timeoutMs} ms`);
  }
}
