import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '@holdfast/database/embedded-postgres';
import { migrate } from '@holdfast/database/migrate';
import { openDatabase } from '@holdfast/database/open-database';
import { createApiClient, signToken, type ApiClient, type Row } from './api-client.ts';
import { startNode, type RunningProcess } from './child-process.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { startTestRedis, type TestRedis } from '@holdfast/jobs/testing/test-redis';

/** What a user runs, each in a process of its own: PostgreSQL, Redis where asked for, the API and workers. */
export interface System {
  /** Signed for an admin of all entities. */
  readonly api: ApiClient;
  readonly jwtSecret: string;
  /** The roots: backups may read here, ... */
  readonly sources: string;
  /** ... repositories may lie here, ... */
  readonly repositories: string;
  /** ... and recoveries may write here. */
  readonly targets: string;
  readonly workers: readonly RunningProcess[];
  readonly redis: TestRedis | undefined;
  readonly postgresql: { /** kill -9 of the postmaster; it is started again on its port by itself. */ kill(): Promise<void> };
  startWorker(): Promise<RunningProcess>;
  /** Another process of the API, at a port of its own; gives its URL. */
  startApi(): Promise<string>;
  /** The process that holds this run now, when one does. */
  workerAtWork(kind: RunTable, id: string): Promise<RunningProcess | undefined>;
  stop(): Promise<void>;
}

export const queueKinds = ['postgresql', 'redis'] as const;
type RunTable = 'backup' | 'verify' | 'recovery';

const main = (app: string) => join(import.meta.dirname, '../../..', app, 'src/main.ts');
const packNamePattern = /\/[0-9a-f]{64}$/u; // temporaries of writes under way have other names
const readyTimeoutMs = 60_000;
const stopSignals = ['SIGTERM', 'SIGKILL'] as const;
const stopTimeoutMs = 45_000; // the shutdown's own bound is below

export interface SystemOptions {
  readonly queue: (typeof queueKinds)[number];
  readonly workerCount: number;
  /** Further settings of API and workers. */
  readonly environment?: Readonly<Record<string, string>>;
}

export async function startSystem(options: SystemOptions): Promise<System> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
  const [sources, repositories, targets, scratch] = ['sources', 'repositories', 'targets', 'scratch'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const path of [sources, repositories, targets]) await mkdir(path);
  // A server over recovered data runs as an account without rights when a worker is root, and has to pass here.
  if (process.getuid?.() === 0) await chmod(folder, 0o711);
  const cleanups: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  };
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgresql'), log: () => undefined });
    cleanups.push(() => postgres.stop());
    await migrate(postgres.url);
    const redis = options.queue === 'redis' ? await startTestRedis() : undefined;
    if (redis !== undefined) cleanups.push(async () => redis[Symbol.asyncDispose]());

    const jwtSecret = randomBytes(32).toString('hex');
    const apiPort = await freePort();
    const env: Record<string, string> = {
      DATABASE_URL: postgres.url,
      ...(redis === undefined ? {} : { REDIS_URL: redis.url }),
      HOLDFAST_MASTER_KEY: randomBytes(32).toString('base64'),
      HOLDFAST_JWT_SECRET: jwtSecret,
      HOLDFAST_API_PORT: String(apiPort),
      HOLDFAST_SOURCE_ROOTS: sources,
      HOLDFAST_STORAGE_ROOTS: repositories,
      HOLDFAST_TARGET_ROOTS: targets,
      HOLDFAST_SCRATCH_DIR: scratch,
      HOLDFAST_SHUTDOWN_GRACE_SECONDS: '5',
      HOLDFAST_RATE_LIMIT_PER_MINUTE: '100000',
      ...options.environment,
    };
    const start = (name: string, app: string, more: Record<string, string> = {}) => {
      const child = startNode(name, main(app), { ...env, ...more });
      cleanups.push(() => endBounded(child));
      return child;
    };
    const baseUrl = `http://127.0.0.1:${apiPort}`;
    const apiProcess = start('api', 'api');
    const workers: RunningProcess[] = [];
    const startWorker = async () => {
      const worker = start(`worker ${workers.length + 1}`, 'worker');
      workers.push(worker);
      await eventually(
        'the worker is ready',
        async () => isReady(worker, () => worker.output().includes('worker is ready')),
        readyTimeoutMs,
      );
      return worker;
    };
    for (let i = 0; i < options.workerCount; i++) await startWorker();
    await eventually('the api answers', async () => isReady(apiProcess, () => answers(`${baseUrl}/api/backup/health`)), readyTimeoutMs);

    const db = await openDatabase({ url: postgres.url, applicationName: 'holdfast-e2e' });
    cleanups.push(() => db.close());
    return {
      api: createApiClient(baseUrl, signToken(jwtSecret, { sub: 'e2e', role: 'admin', entities: '*' })),
      jwtSecret,
      sources,
      repositories,
      targets,
      workers,
      redis,
      postgresql: {
        // The one before may be dead and the next not yet there.
        kill: () => eventually('a postmaster to kill', async () => killed(postgres.pid) || undefined, readyTimeoutMs).then(() => undefined),
      },
      startWorker,
      async startApi() {
        const port = await freePort();
        const url = `http://127.0.0.1:${port}`;
        const child = start('another api', 'api', { HOLDFAST_API_PORT: String(port) });
        await eventually('the other api answers', async () => isReady(child, () => answers(`${url}/api/backup/health`)), readyTimeoutMs);
        return url;
      },
      async workerAtWork(kind, id) {
        const tables = { backup: db.client.backupJob, verify: db.client.backupVerification, recovery: db.client.recoveryJob };
        // The three delegates take this query alike, which their types cannot say.
        const table = tables[kind] as typeof db.client.backupJob;
        const row = await table.findUnique({ where: { id }, select: { claimedBy: true, status: true } });
        if (row?.status !== 'running' || row.claimedBy === null) return undefined;
        const holder = await db.client.workerProcess.findUnique({ where: { id: row.claimedBy } });
        return workers.find((worker) => worker.pid === holder?.pid);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** SIGTERM, and SIGKILL when that is not enough: then the test that waits for a clean stop has failed already. */
async function endBounded(child: RunningProcess): Promise<void> {
  const [gentle, hard] = stopSignals;
  const ended = child.end(gentle).then(() => true);
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), stopTimeoutMs).unref());
  if (!(await Promise.race([ended, late]))) {
    await child.end(hard);
    throw new Error(`${child.name} did not stop on ${gentle} within ${stopTimeoutMs} ms:\n${child.output()}`);
  }
}

/** SIGKILL; false when nobody of this pid is there (0 would be our own process group). */
function killed(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

async function isReady(child: RunningProcess, probe: () => boolean | Promise<boolean>): Promise<true | undefined> {
  if (child.exited()) throw new Error(`${child.name} ended at its start:\n${child.output()}`);
  return (await probe()) || undefined;
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false; // not listening yet
  }
}

/** An entity with one config and a repository of its own, whose password the test knows. */
export interface Tenant {
  readonly entityId: string;
  readonly configId: string;
  readonly repositoryPath: string;
  readonly password: string;
  /** Another config of the entity, in the same repository. */
  createConfig(fields: Record<string, unknown>): Promise<Row>;
  hasPacks(): Promise<true | undefined>;
  /** The path of the largest pack file. */
  largestPack(): Promise<string>;
}

export async function createTenant(
  system: System,
  options: { name: string; sourcePath: string; repositoryPath?: string },
): Promise<Tenant> {
  const entity = await system.api.post('/entities', { name: options.name });
  const repositoryPath = options.repositoryPath ?? join(system.repositories, options.name);
  const password = randomBytes(16).toString('hex');
  const createConfig = (fields: Record<string, unknown>) =>
    system.api.post('/configs', {
      businessEntityId: entity.id,
      name: `config ${randomBytes(4).toString('hex')}`,
      backupType: 'file_system',
      source: { type: 'file_system', paths: [options.sourcePath] },
      retentionDays: 30,
      encryptionKey: password,
      storageLocation: 'local',
      storageOptions: { type: 'local', path: repositoryPath },
      ...fields,
    });
  const config = await createConfig({});
  const packs = async () => (await listFiles(join(repositoryPath, 'data'))).filter((path) => packNamePattern.test(path));
  return {
    entityId: entity.id,
    configId: config.id,
    repositoryPath,
    password,
    createConfig,
    hasPacks: async () => (await packs()).length > 0 || undefined,
    async largestPack() {
      const sizes = await Promise.all((await packs()).map(async (path) => ({ path, sizeBytes: (await stat(path)).size })));
      const largest = sizes.toSorted((a, b) => b.sizeBytes - a.sizeBytes)[0];
      if (largest === undefined) throw new Error('the repository holds no pack');
      return largest.path;
    },
  };
}

/** Every regular file below `folder`; none when it is not there. */
export async function listFiles(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []; // not made yet
    throw error;
  }
}
