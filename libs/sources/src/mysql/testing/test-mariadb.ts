import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { makeSelfSignedCertificate } from '../../postgresql/testing/self-signed-certificate.ts';
import { findClientPrograms } from '../client-programs.ts';
import type { MysqlConnectionOptions } from '../connection-options.ts';
import { runStatements } from '../statements.ts';

/**
 * A MariaDB server of a test's own, on a free port of 127.0.0.1, in a temporary folder that goes with it. From root it runs as `nobody`.
 * It ends with its test process, also when that is killed.
 */
export interface TestMariadb extends AsyncDisposable {
  /** An account with all rights. */
  readonly connection: MysqlConnectionOptions & { readonly password: string };
  /** Present with `tls`: what signed its certificate, which is for `localhost` and 127.0.0.1. */
  readonly certificatePem: string | undefined;
  readonly folder: string;
  readonly pid: number;
  /** Statements at once, as the account or another one; the rows of all of them. */
  query(sql: string, options?: { readonly database?: string; readonly user?: string; readonly password?: string }): Promise<string[][]>;
  log(): Promise<string>;
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface TestMariadbOptions {
  /** As on the command line: `['--log-bin=bin']`. */
  readonly settings?: readonly string[];
  readonly tls?: boolean;
}

const startLimitMs = 30_000;
const pollMs = 50;
const nobody = 65_534;
/** Nothing of a test outlives it, so nothing is waited for. */
const fast = ['--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=64M', '--innodb-doublewrite=0', '--skip-name-resolve'];
const server = '/usr/sbin/mariadbd';
const dump = '/usr/bin/mariadb-dump';
/** With what an option file and a shell would take for something else. */
const password = 'a "secret" \\of #the \'test\' = $x;';

/** Null when a MariaDB can be started here, else what is missing. With CI=true that is an error: nothing is left out there. */
export function missingMariadb(): string | null {
  if (existsSync(server) && existsSync(dump)) return null;
  const reason = `no MariaDB: ${server} and ${dump} (Debian: mariadb-server)`;
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

export async function startTestMariadb(options: TestMariadbOptions = {}): Promise<TestMariadb> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-mariadb-'));
  const started = new Server(folder, await freePort(), options);
  try {
    await started.prepare();
    await started.start();
    return started;
  } catch (error) {
    const log = await started.log();
    await started[Symbol.asyncDispose]();
    throw new Error(`MariaDB was not started: ${String(error)}\n${log.slice(-3_000)}`, { cause: error });
  }
}

class Server implements TestMariadb {
  readonly folder: string;
  readonly connection: TestMariadb['connection'];
  certificatePem: string | undefined;
  readonly #options: TestMariadbOptions;
  #child: ChildProcess | undefined;
  #watcher: ChildProcess | undefined;

  constructor(folder: string, port: number, options: TestMariadbOptions) {
    this.folder = folder;
    this.#options = options;
    this.connection = { host: '127.0.0.1', port, user: 'boss', password, tls: { mode: options.tls === true ? 'require' : 'disable' } };
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async prepare(): Promise<void> {
    if (process.getuid?.() === 0) await chown(this.folder, nobody, nobody);
    const args = ['--no-defaults', `--datadir=${join(this.folder, 'data')}`, '--auth-root-authentication-method=normal', '--skip-test-db'];
    const { command, rest } = asOwner('mariadb-install-db', [...args, '--skip-name-resolve']);
    await promisify(execFile)(command, rest, { cwd: '/' });
    // The file's reader knows no quoted text.
    const hash = createHash('sha1').update(createHash('sha1').update(password).digest()).digest('hex').toUpperCase();
    const account = `CREATE USER IF NOT EXISTS boss@'127.0.0.1' IDENTIFIED BY PASSWORD '*${hash}';`;
    const others = "DELETE FROM mysql.global_priv WHERE Host NOT IN ('127.0.0.1', 'localhost');\nFLUSH PRIVILEGES;";
    await writeFile(join(this.folder, 'init.sql'), `${account}\nGRANT ALL ON *.* TO boss@'127.0.0.1' WITH GRANT OPTION;\n${others}\n`);
    await chmod(join(this.folder, 'init.sql'), 0o644);
    if (this.#options.tls !== true) return;
    const { certificatePem, keyPem } = makeSelfSignedCertificate({ dns: 'localhost', ip: '127.0.0.1' });
    this.certificatePem = certificatePem;
    for (const [name, text] of Object.entries({ 'server.crt': certificatePem, 'server.key': keyPem })) {
      await writeFile(join(this.folder, name), text, { mode: 0o600 });
      if (process.getuid?.() === 0) await chown(join(this.folder, name), nobody, nobody);
    }
  }

  async start(): Promise<void> {
    const place = [`--datadir=${join(this.folder, 'data')}`, `--port=${this.connection.port}`, '--bind-address=127.0.0.1'];
    const files = [`--socket=${join(this.folder, 'socket')}`, `--init-file=${join(this.folder, 'init.sql')}`];
    const tls = [`--ssl-cert=${join(this.folder, 'server.crt')}`, `--ssl-key=${join(this.folder, 'server.key')}`];
    const settings = [...(this.#options.tls === true ? tls : []), ...(this.#options.settings ?? [])];
    const { command, rest } = asOwner(server, ['--no-defaults', ...place, ...files, ...fast, ...settings]);
    const log = await open(join(this.folder, 'server.log'), 'a');
    try {
      this.#child = spawn(command, rest, { stdio: ['ignore', log.fd, log.fd], cwd: '/', detached: true });
      await once(this.#child, 'spawn');
    } finally {
      await log.close();
    }
    this.#watcher?.stdin?.end('ended in order\n');
    this.#watcher = watchStarter(this.folder, this.pid);
    const giveUpAtMs = performance.now() + startLimitMs;
    for (;;) {
      try {
        await this.query('SELECT 1');
        return;
      } catch (error) {
        if (performance.now() > giveUpAtMs || this.#child.exitCode !== null) throw error;
        await delay(pollMs);
      }
    }
  }

  async query(sql: string, { database, ...account }: { database?: string; user?: string; password?: string } = {}): Promise<string[][]> {
    const programs = await findClientPrograms({});
    const connection = { ...this.connection, ...account };
    return await runStatements({ programs, connection, signal: new AbortController().signal }, sql, database);
  }

  async log(): Promise<string> {
    return readFile(join(this.folder, 'server.log'), 'utf8').catch(() => '');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#watcher?.stdin?.end('ended in order\n');
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** MariaDB refuses to run as root. */
function asOwner(command: string, args: readonly string[]): { command: string; rest: string[] } {
  if (process.getuid?.() !== 0) return { command, rest: [...args] };
  return { command: 'setpriv', rest: ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups', command, ...args] };
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  listener.close();
  await once(listener, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/** A shell that waits on a pipe from this process, which breaks however this process ends; then it ends the server. */
function watchStarter(folder: string, pid: number): ChildProcess {
  const script = `read -r word && exit; kill -KILL "$2"; sleep 1; rm -rf "$1"`;
  const watcher = spawn('sh', ['-c', script, 'sh', folder, String(pid)], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.unref();
  const pipe: unknown = watcher.stdin;
  (pipe as { unref?: () => void } | null)?.unref?.();
  return watcher;
}
