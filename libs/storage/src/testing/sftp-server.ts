import { execFile } from 'node:child_process';
import { access, chmod, chown, copyFile, appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { SftpCredentials, SftpOptions } from '../sftp/sftp-options.ts';
import { openSftpStorage } from '../sftp/sftp-storage.ts';
import { connects, freePort, type ServerProgram, startServerProgram } from './server-program.ts';

const run = promisify(execFile);
const sshd = '/usr/sbin/sshd';

/** An OpenSSH server with a configuration, keys and data of its own. It knows one user, who logs in by a key. */
export interface SftpServer extends AsyncDisposable {
  readonly port: number;
  readonly user: string;
  /** Only for an account of its own. */
  readonly password: string | undefined;
  /** PEM-like, as ssh-keygen writes it. */
  readonly privateKeyFile: string;
  readonly privateKey: string;
  /** The line of the ed25519 key; it has an ecdsa key too. */
  readonly hostKey: string;
  readonly ecdsaHostKey: string;
  /** For what tests need; belongs to the user. */
  readonly folder: string;
  /** Ends the server and all its sessions at once. */
  kill(): Promise<void>;
  start(): Promise<void>;
  options(more?: Partial<SftpOptions>): SftpOptions;
  readonly credentials: SftpCredentials;
  /** A storage in the folder or elsewhere, with the default settings where none are given. */
  open(more?: Partial<SftpOptions>, settings?: Partial<typeof defaultAdapterSettings>): ReturnType<typeof openSftpStorage>;
  said(): string;
}

export interface SftpServerSettings {
  /** More lines of sshd_config. */
  readonly config?: readonly string[];
  /** Arguments of internal-sftp: `-P hardlink` refuses that request and does not announce it. */
  readonly sftpArgs?: string;
  /**
   * A user of its own with few rights, who may log in by a password too, instead of the one who runs the test. The server runs in a mount
   * namespace with a user table of its own, so that this machine's stays as it is. Needs root.
   */
  readonly ownAccount?: boolean;
}

const accountName = 'holdfast-test';
/** Far from those that a machine gives out. */
const accountId = 61_234;
const accountPassword = 'correct horse battery staple';

export async function startSftpServer({ config = [], sftpArgs = '', ownAccount = false }: SftpServerSettings = {}): Promise<SftpServer> {
  await access(sshd).catch(() => {
    throw new Error(`${sshd} is missing: install the Debian package openssh-server`);
  });
  const base = await mkdtemp(join(tmpdir(), 'holdfast-sftp-'));
  // The server's account passes through it.
  await chmod(base, 0o711);
  const folder = join(base, 'data');
  await mkdir(folder);
  if (ownAccount) await chown(folder, accountId, accountId);
  // Where sshd puts its unprivileged part; it makes the folder only when the system starts it.
  if (process.geteuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });

  const keyFile = (name: string): string => join(base, name);
  await makeKey(keyFile('host_ed25519'), 'ed25519');
  await makeKey(keyFile('host_ecdsa'), 'ecdsa');
  await makeKey(keyFile('user'), 'ed25519');
  const port = await freePort();
  const lines = [
    `Port ${String(port)}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${keyFile('host_ed25519')}`,
    `HostKey ${keyFile('host_ecdsa')}`,
    `AuthorizedKeysFile ${keyFile('user.pub')}`,
    'PidFile none',
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    `PasswordAuthentication ${ownAccount ? 'yes' : 'no'}`,
    'KbdInteractiveAuthentication no',
    // Two storages open their connections at once, beside a restic.
    'MaxStartups 100',
    'LogLevel ERROR',
    `Subsystem sftp internal-sftp ${sftpArgs}`,
    ...config,
  ];
  await writeFile(keyFile('sshd_config'), `${lines.join('\n')}\n`);
  const command = [sshd, '-D', '-e', '-f', keyFile('sshd_config')];
  const [program = '', ...args] = ownAccount ? await inOwnNamespace(base, command) : command;
  const server = await startServerProgram({ program, args, answers: () => connects(port) });

  const line = async (name: string): Promise<string> => (await readFile(`${keyFile(name)}.pub`, 'utf8')).trim();
  const user = ownAccount ? accountName : userInfo().username;
  const privateKey = await readFile(keyFile('user'), 'utf8');
  const hostKey = await line('host_ed25519');
  const options = (more: Partial<SftpOptions> = {}): SftpOptions => ({
    type: 'sftp',
    host: '127.0.0.1',
    port,
    user,
    path: folder,
    hostKey,
    ...more,
  });
  const credentials = { privateKey };
  return {
    port,
    user,
    password: ownAccount ? accountPassword : undefined,
    privateKeyFile: keyFile('user'),
    privateKey,
    hostKey,
    ecdsaHostKey: await line('host_ecdsa'),
    folder,
    kill: () => killWithSessions(server),
    start: () => server.start(),
    options,
    credentials,
    open: (more, settings) => openSftpStorage(options(more), credentials, { ...defaultAdapterSettings, ...settings }),
    said: () => server.output(),
    async [Symbol.asyncDispose]() {
      await killWithSessions(server);
      await rm(base, { recursive: true, force: true });
    },
  };
}

/** A key pair in two files, as ssh-keygen writes them. */
export async function makeKey(path: string, type: 'ed25519' | 'ecdsa' | 'rsa', passphrase = ''): Promise<void> {
  await run('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'test', '-f', path]);
}

/** The command that runs `command` where /etc/passwd and /etc/shadow have one user more. */
async function inOwnNamespace(base: string, command: readonly string[]): Promise<string[]> {
  const { stdout: hash } = await run('openssl', ['passwd', '-6', accountPassword]);
  const id = String(accountId);
  const entries = {
    passwd: `${accountName}:x:${id}:${id}::${join(base, 'data')}:/bin/sh\n`,
    shadow: `${accountName}:${hash.trim()}:20000:0:99999:7:::\n`,
  };
  for (const [name, entry] of Object.entries(entries)) {
    await copyFile(join('/etc', name), join(base, name));
    await appendFile(join(base, name), entry);
  }
  const mounts = Object.keys(entries).map((name) => `mount --bind '${join(base, name)}' '/etc/${name}'`);
  return ['unshare', '--mount', 'sh', '-c', `${mounts.join(' && ')} && exec "$@"`, 'sh', ...command];
}

/** A session is a process of its own and lives on when the server is killed. */
async function killWithSessions(server: ServerProgram): Promise<void> {
  const sessions = await descendants(server.pid);
  await server.kill();
  for (const pid of sessions) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errnoCode(error) !== 'ESRCH') throw error;
    }
  }
}

async function descendants(pid: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/u.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    const parent = /^PPid:\s+(\d+)$/mu.exec(status)?.[1];
    if (parent !== undefined) parents.set(Number(name), Number(parent));
  }
  const found = [pid];
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found.slice(1);
}
