import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** A program to run. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** Added to this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What a program cost, from its start to its end. How it is measured: measure-child.mjs. */
export interface Cost {
  readonly wallMs: number;
  readonly userMs: number;
  readonly systemMs: number;
  readonly peakRssBytes: number;
  /** The least that peakRssBytes can be. */
  readonly floorRssBytes: number;
}

export interface RunOptions {
  /** For the log and the result of the run. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** A step of the largest scenario takes minutes; what takes this long hangs. */
const runLimitMs = 60 * 60 * 1000;
const shownLogBytes = 4_000;
const measurer = join(import.meta.dirname, 'measure-child.mjs');

/** Runs a program and measures it. Throws, with the end of what it said, when it does not end with code 0. */
export async function measure(command: Command, { folder, signal }: RunOptions): Promise<Cost> {
  signal.throwIfAborted();
  const [resultPath, logPath] = [join(folder, 'result.json'), join(folder, 'log')];
  for (const path of [resultPath, logPath]) rmSync(path, { force: true });
  const child = spawn(process.execPath, [measurer, resultPath, logPath, command.program, ...command.args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...command.env },
    cwd: command.cwd ?? folder,
  });
  const stop = (): void => void child.kill('SIGTERM');
  const limit = AbortSignal.any([signal, AbortSignal.timeout(runLimitMs)]);
  limit.addEventListener('abort', stop);
  try {
    await once(child, 'exit');
  } finally {
    limit.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
  const name = [command.program, ...command.args].join(' ');
  if (child.exitCode !== 0) throw new Error(`could not be measured: ${name}`);
  const {
    code,
    signal: endedBy,
    ...cost
  } = JSON.parse(readFileSync(resultPath, 'utf8')) as Cost & { code: number | null; signal: string | null };
  if (code !== 0) throw new Error(`ended by ${endedBy ?? `code ${code}`}: ${name}\n${readFileSync(logPath, 'utf8').slice(-shownLogBytes)}`);
  return cost;
}
