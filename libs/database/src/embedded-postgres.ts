import { spawn, type ChildProcess } from 'node:child_process';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import pg from 'pg';
import {
  choosePort,
  clusterPaths,
  embeddedDatabase,
  embeddedUser,
  ensureCluster,
  findBinaries,
  postgresEnvironment,
  readIfThere,
  readPassword,
  type Binaries,
} from './postgres-cluster.ts';
import { inspectProcess, processEnded, runAs, signalProcess } from './postgres-process.ts';

/** Recovery after a crash replays at most a few checkpoints of log; beyond this something is wrong. */
const readyTimeoutMs = 120_000;

/** A fast shutdown breaks connections off and writes a checkpoint. After this it is told to leave that to the next start. */
const stopTimeoutMs = 20_000;

/** A server that died leaves memory and sockets for moments; a port may be taken between choosing and listening. */
const startTries = 5;
const startPauseMs = 200;

/** A server that dies again and again is not helped by starting it. */
const maxRestarts = 5;

/** The log of a larger server start is set aside as `postgres.log.1`. */
const logSizeBytes = 10 * 1024 * 1024;

const pollIntervalMs = 10;

export interface EmbeddedPostgresOptions {
  /** Made when missing. Holds the cluster, its password (mode 0600), its port and its log. */
  readonly dataDir: string;
  /** Any free one, kept over restarts, when not given. */
  readonly port?: number | undefined;
  readonly log: (message: string) => void;
  /** Ends the starting, not the server. */
  readonly signal?: AbortSignal | undefined;
  /** Server settings over the defaults, such as `{ fsync: 'off' }` for tests. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
}

export interface EmbeddedPostgres extends AsyncDisposable {
  /** With the password: for connecting, not for logs. */
  readonly url: string;
  /** Of the postmaster that runs now. */
  readonly pid: number;
  /** Lets this process end while the server still runs: for whoever ends the server otherwise. */
  unref(): void;
  /** Ends it orderly; every committed transaction is kept. May be called twice. */
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL of our own on 127.0.0.1, making its cluster when there is none. A server that an earlier process of ours
 * left behind is ended first; one that a living process runs is refused (`conflict`). When it dies it is started again on
 * the same port. Codes: configuration_invalid (the folder or the machine), conflict, database_unreachable (it does not come up).
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  const signal = options.signal ?? new AbortController().signal;
  const binaries = await findBinaries();
  await endOrphan(dataDir, options.log);
  const owner = await ensureCluster(dataDir, binaries, signal);
  await writeFile(clusterPaths(dataDir).starter, `${process.pid}\n`);
  const password = await readPassword(dataDir);
  const server = new PostgresServer({ dataDir, binaries, owner, log: options.log, settings: options.settings ?? {} });
  try {
    const port = await server.start(options.port, signal);
    const url = `postgresql://${embeddedUser}:${password}@127.0.0.1:${port}/`;
    await createDatabase(url);
    return {
      url: url + embeddedDatabase,
      get pid() {
        return server.pid;
      },
      unref: () => server.unref(),
      stop: () => server.stop(),
      [Symbol.asyncDispose]: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

interface ServerSetup {
  readonly dataDir: string;
  readonly binaries: Binaries;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly log: (message: string) => void;
  readonly settings: Readonly<Record<string, string>>;
}

/** The postmaster's life: started, watched, started again when it dies, stopped. */
class PostgresServer {
  readonly #setup: ServerSetup;
  #child: ChildProcess | null = null;
  #isUnref = false;
  #restartCount = 0;
  #restarting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;

  constructor(setup: ServerSetup) {
    this.#setup = setup;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(wantedPort: number | undefined, signal: AbortSignal): Promise<number> {
    const { dataDir, log } = this.#setup;
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted();
      const port = await choosePort(dataDir, wantedPort);
      const child = await this.#spawn(port);
      if (await isReady(dataDir, child, signal)) {
        this.#watch(child, port);
        return port;
      }
      if (tries === startTries) {
        const { log: file } = clusterPaths(dataDir);
        throw new HoldfastError('database_unreachable', 'PostgreSQL does not start', { hint: `see the end of ${file}` });
      }
      log(`postgresql did not start (try ${tries} of ${startTries})`);
      await delay(startPauseMs * tries);
    }
  }

  unref(): void {
    this.#isUnref = true;
    this.#child?.unref();
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    await this.#restarting;
    const pid = this.#child?.pid;
    if (pid !== undefined && this.#child?.exitCode === null && this.#child.signalCode === null) await endPostmaster(pid);
    await rm(clusterPaths(this.#setup.dataDir).starter, { force: true });
  }

  async #spawn(port: number): Promise<ChildProcess> {
    const { dataDir, binaries, owner, settings } = this.#setup;
    const { cluster } = clusterPaths(dataDir);
    const fixed = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '', max_connections: '200' };
    const options = Object.entries({ ...fixed, ...settings }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const paths = [join(cluster, 'PG_VERSION'), binaries.postgres];
    const program = await runAs(owner, paths, binaries.postgres, ['-D', cluster, ...options]);
    const log = await openLog(clusterPaths(dataDir).log);
    try {
      // A process group of its own: Ctrl-C is for us, who stop it in order.
      const child = spawn(program.command, program.args, {
        ...program.identity,
        stdio: ['ignore', log.fd, log.fd],
        env: postgresEnvironment,
        cwd: '/',
        detached: true,
      });
      const { promise, resolve: spawned, reject } = Promise.withResolvers<void>();
      child.once('spawn', spawned).once('error', reject);
      await promise;
      if (this.#isUnref) child.unref();
      this.#child = child;
      return child;
    } finally {
      await log.close();
    }
  }

  #watch(child: ChildProcess, port: number): void {
    const onExit = (code: number | null, by: NodeJS.Signals | null): void => {
      if (this.#stopping !== null) return;
      this.#setup.log(`postgresql ended by itself (${by ?? code})`);
      if (this.#restartCount++ >= maxRestarts) return;
      this.#restarting = this.start(port, new AbortController().signal).then(
        () => this.#setup.log('postgresql was started again'),
        (error: unknown) => this.#setup.log(error instanceof Error ? error.message : String(error)),
      );
    };
    child.once('exit', onExit);
    // It may have ended before anybody listened.
    if (child.exitCode !== null || child.signalCode !== null) onExit(child.exitCode, child.signalCode);
  }
}

/** Ends a postmaster that works on this folder and whose starter is gone. Code: conflict, when the starter lives. */
async function endOrphan(dataDir: string, log: (message: string) => void): Promise<void> {
  const { cluster, starter } = clusterPaths(dataDir);
  const pid = Number((await readPidFile(cluster))?.[0] ?? 0);
  if (!Number.isInteger(pid) || pid <= 1) return;
  const running = await inspectProcess(pid);
  // The number may long be somebody else's.
  if (running === null || !running.commandLine.includes(`postgres -D ${cluster}`)) return;
  const starterPid = Number((await readIfThere(starter)) ?? 0);
  if (running.parentPid === starterPid) {
    throw new HoldfastError('conflict', `process ${starterPid} runs the PostgreSQL of ${dataDir}`, {
      hint: 'stop it first, use its DATABASE_URL, or choose another data folder',
      context: { dataDir, starterPid },
    });
  }
  log(`ending the postgresql (process ${pid}) that an earlier start left behind`);
  await endPostmaster(pid);
}

async function endPostmaster(pid: number): Promise<void> {
  signalProcess(pid, 'SIGINT');
  if (await processEnded(pid, stopTimeoutMs)) return;
  signalProcess(pid, 'SIGQUIT');
  if (await processEnded(pid, stopTimeoutMs)) return;
  throw new HoldfastError('conflict', `postgresql (process ${pid}) does not end`);
}

/** The lines of the pid file: 1 process id, 4 port, 8 state; null when there is none. */
async function readPidFile(cluster: string): Promise<string[] | null> {
  return (await readIfThere(join(cluster, 'postmaster.pid')))?.split('\n').map((line) => line.trim()) ?? null;
}

/** Waits until the server takes connections; false when it ended instead. Code: database_unreachable, when it takes too long. */
async function isReady(dataDir: string, child: ChildProcess, signal: AbortSignal): Promise<boolean> {
  const { cluster } = clusterPaths(dataDir);
  for (let waitedMs = 0; waitedMs < readyTimeoutMs; waitedMs += pollIntervalMs) {
    if (child.exitCode !== null || child.signalCode !== null) return false;
    const lines = await readPidFile(cluster);
    if (Number(lines?.[0]) === child.pid && lines?.[7] === 'ready') return true;
    await delay(pollIntervalMs, undefined, { signal });
  }
  throw new HoldfastError('database_unreachable', 'PostgreSQL takes too long to start', { hint: `see ${clusterPaths(dataDir).log}` });
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${url}postgres` });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [embeddedDatabase]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(embeddedDatabase)}`);
  } finally {
    await client.end();
  }
}

async function openLog(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  const sizeBytes = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (sizeBytes > logSizeBytes) await rename(path, `${path}.1`);
  return open(path, 'a', 0o600);
}
