import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';

/** Processes that may be somebody else's: a number is used again, so each is known by its number and when it began. */
export interface RunningProcess {
  /** Ticks since the machine's start on Linux, a date elsewhere: only for comparing. */
  readonly began: string;
  readonly commandLine: string;
}

const pollIntervalMs = 10;

/** What runs under a process id; null when nothing does, or only its exit code is left. */
export async function inspectProcess(pid: number): Promise<RunningProcess | null> {
  return process.platform === 'linux' ? inspectByProc(pid) : inspectByPs(pid);
}

async function inspectByProc(pid: number): Promise<RunningProcess | null> {
  try {
    const [status, commandLine] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile(`/proc/${pid}/cmdline`, 'utf8')]);
    // `pid (name) state …`, the 22nd field is when it began; the name may hold blanks and brackets.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return { began: fields[19] ?? '', commandLine: commandLine.replaceAll('\0', ' ').trim() };
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ESRCH') return null;
    throw error;
  }
}

async function inspectByPs(pid: number): Promise<RunningProcess | null> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=,command=', '-p', String(pid)], { env: { LC_ALL: 'C' } });
    const match = /^\s*(\S+ +\S+ +\d+ +\S+ +\d+) (.*)$/u.exec(stdout.trimEnd());
    return match?.[1] === undefined ? null : { began: match[1], commandLine: match[2] ?? '' };
  } catch (error) {
    // ps ends with 1 when it finds nothing.
    if (error instanceof Error && 'code' in error && error.code === 1) return null;
    throw error;
  }
}

/** Waits until no process has this id; false when one still has after `timeoutMs`. */
export async function processEnded(pid: number, timeoutMs: number): Promise<boolean> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while ((await inspectProcess(pid)) !== null) {
    if (performance.now() > giveUpAtMs) return false;
    await delay(pollIntervalMs);
  }
  return true;
}

/** Signals a process that may have gone meanwhile. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errnoCode(error) !== 'ESRCH') throw error;
  }
}
