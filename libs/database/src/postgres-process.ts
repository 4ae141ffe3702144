import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** PostgreSQL refuses to run as root; this is the account that every Unix has for what needs no rights. */
const nobody = 65_534;

const pollIntervalMs = 10;

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  /** Given to spawn: who runs it. */
  readonly identity: { readonly uid?: number; readonly gid?: number };
}

/** Who owns, and so must run, a cluster: this user, or an account without rights when this user is root. */
export function clusterOwner(): { uid: number; gid: number } {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? { uid: nobody, gid: nobody } : { uid, gid: process.getgid?.() ?? uid };
}

/**
 * `command` as it must be started for `owner`. From root it gives up root; where a folder on the way to `paths` is closed to
 * others, it keeps the one right to pass it, by util-linux' setpriv. Code: configuration_invalid, when that is missing.
 */
export async function runAs(
  owner: { readonly uid: number; readonly gid: number },
  paths: readonly string[],
  command: string,
  args: readonly string[],
): Promise<Program> {
  if (process.getuid?.() !== 0) return { command, args, identity: {} };
  const isOpen = await Promise.all(paths.map((path) => isReachable(path, owner.uid)));
  if (isOpen.every(Boolean)) return { command, args, identity: owner };
  const setpriv = await findSetpriv();
  const passing = '+dac_override,+dac_read_search';
  const rights = ['--securebits', '+no_setuid_fixup', '--inh-caps', passing, '--ambient-caps', passing];
  const account = ['--reuid', String(owner.uid), '--regid', String(owner.gid), '--clear-groups'];
  return { command: setpriv, args: [...rights, ...account, command, ...args], identity: {} };
}

async function isReachable(path: string, uid: number): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode, uid: owner } = await stat(folder);
    const searchable = owner === uid ? 0o100 : 0o001;
    if ((mode & searchable) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function findSetpriv(): Promise<string> {
  for (const folder of (process.env['PATH'] ?? '').split(':').concat('/usr/bin', '/bin')) {
    const candidate = join(folder, 'setpriv');
    const isThere = await stat(candidate).then(
      (found) => found.isFile(),
      () => false,
    );
    if (folder !== '' && isThere) return candidate;
  }
  throw new HoldfastError('configuration_invalid', 'the data folder lies below a folder that only root may enter', {
    hint: 'choose a folder that others may pass, run as an ordinary user, or install setpriv (util-linux)',
  });
}

export interface RunningProcess {
  readonly parentPid: number;
  readonly commandLine: string;
}

/** What runs under a process id; null when nothing does. */
export async function inspectProcess(pid: number): Promise<RunningProcess | null> {
  return process.platform === 'linux' ? inspectByProc(pid) : inspectByPs(pid);
}

async function inspectByProc(pid: number): Promise<RunningProcess | null> {
  try {
    const [status, commandLine] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile(`/proc/${pid}/cmdline`, 'utf8')]);
    // `pid (name) state ppid …`; the name may hold blanks and brackets.
    const [state, parentPid] = status.slice(status.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return null;
    return { parentPid: Number(parentPid), commandLine: commandLine.replaceAll('\0', ' ').trim() };
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ESRCH')) return null;
    throw error;
  }
}

async function inspectByPs(pid: number): Promise<RunningProcess | null> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'ppid=,command=', '-p', String(pid)]);
    const match = /^\s*(\d+)\s+(.*)$/u.exec(stdout.trim());
    return match?.[2] === undefined ? null : { parentPid: Number(match[1]), commandLine: match[2] };
  } catch (error) {
    // ps ends with 1 when it finds nothing.
    if (isCode(error, 1)) return null;
    throw error;
  }
}

/** Waits until no process has this id; false when one still has after `timeoutMs`. */
export async function processEnded(pid: number, timeoutMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs <= timeoutMs; waitedMs += pollIntervalMs) {
    if ((await inspectProcess(pid)) === null) return true;
    await delay(pollIntervalMs);
  }
  return false;
}

/** Signals a process that may have gone meanwhile. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isCode(error, 'ESRCH')) throw error;
  }
}

/** True when `error` carries this code of the operating system, or exit code. */
export function isCode(error: unknown, code: string | number): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
