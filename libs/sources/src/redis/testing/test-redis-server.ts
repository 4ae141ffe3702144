import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeSelfSignedCertificate } from '../../postgresql/testing/self-signed-certificate.ts';
import type { RedisConnectionOptions } from '../connection-options.ts';
import { RedisConnection, type Reply } from '../redis-connection.ts';

/**
 * The `redis-server` of this machine with a password, on a free port of 127.0.0.1, in a temporary folder that goes with it:
 *
 *     <folder>/dump.rdb     what it reads at its start
 *     <folder>/server.log
 *
 * It ends with its test process, unless that is killed.
 */
export interface TestRedisServer extends AsyncDisposable {
  readonly connection: RedisConnectionOptions & { readonly password: string };
  /** Present with `tls`: what signed its certificate, which is for `localhost` and 127.0.0.1. */
  readonly certificatePem: string | undefined;
  readonly folder: string;
  readonly pid: number;
  /** One command on a connection that stays. */
  command(...words: readonly (string | Uint8Array)[]): Promise<Reply>;
  log(): Promise<string>;
  /** SIGKILL; waits for the end. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface TestRedisServerOptions {
  /** As on the command line: `['--repl-diskless-sync', 'no']`. */
  readonly settings?: readonly string[];
  readonly tls?: boolean;
  /** Put in its folder before it starts. */
  readonly dump?: Uint8Array;
}

const startLimitMs = 15_000;
const pollMs = 20;
const password = 'a secret of the test';

/** Null when there is a redis-server here, else what is missing. With CI=true that is an error: nothing is left out there. */
export function missingRedisServer(): string | null {
  if (spawnSync('redis-server', ['--version']).status === 0) return null;
  const reason = 'no redis-server on the PATH';
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

export async function startTestRedisServer(options: TestRedisServerOptions = {}): Promise<TestRedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-'));
  const server = new Server(folder, await freePort(), options);
  try {
    if (options.dump !== undefined) await writeFile(join(folder, 'dump.rdb'), options.dump);
    await server.prepare();
    await server.start();
    return server;
  } catch (error) {
    const log = await server.log();
    await server[Symbol.asyncDispose]();
    throw new Error(`redis-server was not started: ${String(error)}\n${log.slice(-2_000)}`, { cause: error });
  }
}

class Server implements TestRedisServer {
  readonly folder: string;
  readonly connection: TestRedisServer['connection'];
  certificatePem: string | undefined;
  readonly #options: TestRedisServerOptions;
  #child: ChildProcess | undefined;
  #before: Promise<void> = Promise.resolve();
  #session: RedisConnection | undefined;
  readonly #exit = (): void => void this.#child?.kill('SIGKILL');

  constructor(folder: string, port: number, options: TestRedisServerOptions) {
    this.folder = folder;
    this.#options = options;
    this.connection = { host: '127.0.0.1', port, password, tls: { mode: options.tls === true ? 'require' : 'disable' } };
    process.once('exit', this.#exit);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async prepare(): Promise<void> {
    if (this.#options.tls !== true) return;
    const { certificatePem, keyPem } = makeSelfSignedCertificate({ dns: 'localhost', ip: '127.0.0.1' });
    this.certificatePem = certificatePem;
    await writeFile(join(this.folder, 'server.crt'), certificatePem);
    await writeFile(join(this.folder, 'server.key'), keyPem, { mode: 0o600 });
  }

  async start(): Promise<void> {
    const port = String(this.connection.port);
    const files = ['--tls-cert-file', join(this.folder, 'server.crt'), '--tls-key-file', join(this.folder, 'server.key')];
    const ports = this.#options.tls === true ? ['--port', '0', '--tls-port', port, '--tls-auth-clients', 'no', ...files] : ['--port', port];
    // Its folder is where dump.rdb is; nothing is written there but by command.
    const fixed = [
      '--bind',
      '127.0.0.1',
      '--dir',
      this.folder,
      '--save',
      '',
      '--appendonly',
      'no',
      '--repl-diskless-sync-delay',
      '0',
      '--enable-debug-command',
      'yes',
    ];
    const log = await open(join(this.folder, 'server.log'), 'a');
    try {
      const args = [...ports, ...fixed, '--requirepass', password, ...(this.#options.settings ?? [])];
      this.#child = spawn('redis-server', args, { stdio: ['ignore', log.fd, log.fd], cwd: this.folder });
      await once(this.#child, 'spawn');
    } finally {
      await log.close();
    }
    const giveUpAtMs = performance.now() + startLimitMs;
    for (;;) {
      try {
        await this.command('PING');
        return;
      } catch (error) {
        await this.#endSession();
        if (performance.now() > giveUpAtMs || this.#child.exitCode !== null) throw error;
        await delay(pollMs);
      }
    }
  }

  /** One at a time: a connection gives answers in the order of commands, to one reader, and a test has a writer beside it. */
  async command(...words: readonly (string | Uint8Array)[]): Promise<Reply> {
    const answer = this.#before.then(async () => {
      this.#session ??= await RedisConnection.open(this.connection, new AbortController().signal);
      return await this.#session.command(words);
    });
    // Whether one failed is for whoever gave it; the next one has its turn.
    this.#before = answer.then(
      () => undefined,
      () => undefined,
    );
    return await answer;
  }

  async log(): Promise<string> {
    return readFile(join(this.folder, 'server.log'), 'utf8').catch(() => '');
  }

  async kill(): Promise<void> {
    await this.#endSession();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async #endSession(): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]();
    this.#session = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#exit);
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** On 127.0.0.1; it was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
