import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import type { FtpCredentials, FtpOptions } from '../ftp/ftp-options.ts';
import { type ServerProgram, connects, freePort, startServerProgram } from './server-program.ts';

/**
 * Real FTP servers of Debian with one user, whose sessions begin in an empty folder. Both speak TLS and do without it.
 *
 * - Pure-FTPd (package pure-ftpd): lists facts (MLSD); its users are its own.
 * - vsftpd (package vsftpd): lists lines for people; asks for the control connection's TLS session on every data connection. Debian does
 *   not install it beside the other, so its program may be named by VSFTPD_BIN (`apt-get download vsftpd`, `dpkg -x`).
 */
export interface FtpTestServer extends AsyncDisposable {
  readonly port: number;
  /** Where the user's sessions begin, as this machine sees it. */
  readonly home: string;
  /** PEM. The server's own certificate, for 127.0.0.1. */
  readonly caCertificate: string;
  readonly credentials: FtpCredentials;
  readonly program: ServerProgram;
  /** SIGKILL to the server and to the processes of its sessions; `program.start()` starts it again. */
  kill(): Promise<void>;
  options(more?: Partial<FtpOptions>): FtpOptions;
}

export type FtpProgram = 'pure-ftpd' | 'vsftpd';

export interface FtpTestServerOptions {
  readonly program: FtpProgram;
  /** An empty folder that exists; a new one when not given. */
  readonly home?: string;
  /** Only Pure-FTPd. */
  readonly quotaMebibytes?: number;
  /** Sessions of one address at once. */
  readonly maxSessions?: number;
  /** Only vsftpd: TLS from the first byte. */
  readonly implicitTls?: boolean;
  /** Only vsftpd, which is told what a user may not do. */
  readonly isReadOnly?: boolean;
}

const run = promisify(execFile);
const user = 'holdfast';
/** Whoever logs in is this one on the disk: a user of every Debian, without rights, whose home is there (vsftpd looks into it). */
const systemUser = { name: 'daemon', id: 1 };
const sessions = 200;

export async function startFtpServer(options: FtpTestServerOptions): Promise<FtpTestServer> {
  if (process.geteuid?.() !== 0) throw new Error(`${options.program} is started by root only`);
  const program = options.program === 'vsftpd' ? (process.env['VSFTPD_BIN'] ?? found('vsftpd', 'vsftpd')) : found('pure-ftpd', 'pure-ftpd');
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-ftp-'));
  // The server's processes for users must get through.
  await chmod(folder, 0o755);
  const home = options.home ?? join(folder, 'home');
  await mkdir(home, { recursive: true });
  await chown(home, systemUser.id, systemUser.id);
  const credentials = { password: randomUUID() };
  const certificatePath = join(folder, 'certificate.pem');
  await makeCertificate(certificatePath);
  const port = await freePort();
  const place: Place = { folder, home, port, certificatePath, password: credentials.password };
  const { args, cleanUp } = await (options.program === 'vsftpd' ? vsftpd(place, options) : pureFtpd(place, options));
  const server = await startServerProgram({ program, args, answers: () => connects(port) });
  const caCertificate = (await readFile(certificatePath, 'utf8')).replace(
    /-----BEGIN PRIVATE KEY-----[\s\S]*?-----END PRIVATE KEY-----\s*/u,
    '',
  );
  return {
    port,
    home,
    caCertificate,
    credentials,
    program: server,
    async kill() {
      const sessionPids = await descendantsOf(server.pid);
      await server.kill();
      for (const pid of sessionPids) killIfThere(pid);
    },
    options: (more = {}) => ({ type: 'ftp', host: '127.0.0.1', port, user, path: 'repository', caCertificate, ...more }),
    async [Symbol.asyncDispose]() {
      const sessionPids = await descendantsOf(server.pid);
      await server[Symbol.asyncDispose]();
      for (const pid of sessionPids) killIfThere(pid);
      await cleanUp();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Place {
  readonly folder: string;
  readonly home: string;
  readonly port: number;
  readonly certificatePath: string;
  readonly password: string;
}

interface Command {
  readonly args: readonly string[];
  readonly cleanUp: () => Promise<void>;
}

async function pureFtpd(place: Place, { quotaMebibytes, maxSessions = sessions }: FtpTestServerOptions): Promise<Command> {
  const { folder, home, port, certificatePath, password } = place;
  const [users, database] = [join(folder, 'users'), join(folder, 'users.pdb')];
  // As pure-pw writes it, but for the hash: its own takes seconds at each login, which is the point of it.
  const { stdout: hash } = await run('openssl', ['passwd', '-6', password]);
  const id = String(systemUser.id);
  const quota = quotaMebibytes === undefined ? ['', ''] : ['10000', String(quotaMebibytes * 1024 * 1024)];
  const fields = [user, hash.trim(), id, id, '', `${home}/./`, '', '', '', '', '', ...quota, '', '', '', '', ''];
  await writeFile(users, `${fields.join(':')}\n`, { mode: 0o600 });
  await run(found('pure-pw', 'pure-ftpd'), ['mkdb', database, '-f', users]);
  const limits = ['-c', String(sessions), '-C', String(maxSessions), '-L', '20000:8'];
  const tls = ['-Y', '1', '-2', certificatePath];
  const where = ['-S', `127.0.0.1,${String(port)}`, '-g', join(folder, 'pid')];
  // Only users of its own, each in its folder; no names of hosts; nothing of it in the system's log.
  const manners = ['-l', `puredb:${database}`, '-E', '-A', '-H', '-f', 'none', '-u', '1'];
  return { args: [...manners, ...where, ...tls, ...limits], cleanUp: async () => undefined };
}

async function vsftpd(place: Place, options: FtpTestServerOptions): Promise<Command> {
  const { folder, home, port, certificatePath, password } = place;
  const { maxSessions = sessions, implicitTls = false, isReadOnly = false } = options;
  // Users of its own by PAM, in a Berkeley database, which Debian's perl can write. (With pam_exec a session of vsftpd hung at its first EPSV.)
  const users = join(folder, 'users');
  const fill = 'tie my %users, "DB_File", $ARGV[0], 0x42, 0600, $DB_HASH or die $!; $users{$ARGV[1]} = $ARGV[2]; untie %users';
  await run(found('perl', 'perl'), ['-MDB_File', '-e', fill, `${users}.db`, user, password]);
  const service = `holdfast-test-${randomUUID()}`;
  const servicePath = join('/etc/pam.d', service);
  await writeFile(servicePath, `auth required pam_userdb.so db=${users} crypt=none\naccount required pam_permit.so\n`);
  const yes = (value: boolean): string => (value ? 'YES' : 'NO');
  const empty = join(folder, 'empty');
  await mkdir(empty);
  const settings = {
    listen: 'YES',
    listen_address: '127.0.0.1',
    listen_port: String(port),
    background: 'NO',
    anonymous_enable: 'NO',
    local_enable: 'YES',
    guest_enable: 'YES',
    guest_username: systemUser.name,
    virtual_use_local_privs: 'YES',
    local_root: home,
    local_umask: '077',
    write_enable: yes(!isReadOnly),
    chroot_local_user: 'YES',
    allow_writeable_chroot: 'YES',
    secure_chroot_dir: empty,
    pam_service_name: service,
    // Its sandbox does not know the calls of newer kernels and libraries.
    seccomp_sandbox: 'NO',
    xferlog_enable: 'NO',
    max_per_ip: String(maxSessions),
    max_login_fails: '2',
    delay_failed_login: '0',
    ssl_enable: 'YES',
    implicit_ssl: yes(implicitTls),
    force_local_logins_ssl: 'NO',
    force_local_data_ssl: 'NO',
    rsa_cert_file: certificatePath,
    rsa_private_key_file: certificatePath,
  };
  const configPath = join(folder, 'vsftpd.conf');
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(configPath, lines.join(''), { mode: 0o600 });
  return { args: [configPath], cleanUp: () => rm(servicePath, { force: true }) };
}

async function descendantsOf(pid: number): Promise<number[]> {
  const path = `/proc/${String(pid)}/task/${String(pid)}/children`;
  // A process that has ended meanwhile has none.
  const text = await readFile(path, 'utf8').catch(() => '');
  const children = text.trim().split(' ').filter(Boolean).map(Number);
  const below = await Promise.all(children.map(descendantsOf));
  return [...children, ...below.flat()];
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoCode(error) !== 'ESRCH') throw error;
  }
}

/** Servers lie in folders that are not on everybody's PATH. */
function found(program: string, debianPackage: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  const path = folders.map((folder) => join(folder, program)).find((candidate) => existsSync(candidate));
  if (path === undefined) {
    const other = program === 'vsftpd' ? '; where another FTP server is installed, unpack it and name the program by VSFTPD_BIN' : '';
    throw new Error(`${program} is not there; it is in Debian's package ${debianPackage}${other}`);
  }
  return path;
}

/** Key and certificate in one file, as both servers take it. */
async function makeCertificate(path: string): Promise<void> {
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const named = ['-subj', '/CN=holdfast-test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run('openssl', [...kind, ...named, '-keyout', `${path}.key`, '-out', `${path}.crt`]);
  await writeFile(path, (await readFile(`${path}.key`, 'utf8')) + (await readFile(`${path}.crt`, 'utf8')), { mode: 0o600 });
}
