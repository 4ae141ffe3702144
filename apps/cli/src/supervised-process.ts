import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLogFile, type LogFile } from './log-file.ts';
import { identifyProcess, type ProcessIdentity } from './process-identity.ts';

export interface SupervisedProcessOptions {
  /** Shown in messages, and the name of its log. */
  readonly name: string;
  readonly script: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logPath: string;
  /** After a SIGTERM; then it is killed. */
  readonly graceMs: number;
  /** Its log cannot be written; it goes on without. */
  readonly onLogError: (error: unknown) => void;
  readonly onLine: (line: string) => void;
  /** Each time that the process began or ended. */
  readonly onChange: () => void;
  /** It died although nobody stopped it; it is started again after `delayMs`. */
  readonly onDeath: (how: string, delayMs: number) => void;
}

export interface SupervisedProcess extends AsyncDisposable {
  /** Of the running process; undefined between two. */
  identity(): ProcessIdentity | undefined;
  /** How often it died by itself. */
  deathCount(): number;
  /** SIGTERM, SIGKILL after the grace, and no restart. Waits for the end; may be called twice. */
  stop(): Promise<void>;
  /** SIGKILL at once, for an impatient user. */
  kill(): void;
}

const firstRestartDelayMs = 500;
const maxRestartDelayMs = 30_000;
/** Who lived this long was well: the next restart waits the first delay again. */
const healthyAfterMs = 60_000;

/** The delay before the restart after the `deaths`-th death in a row. */
export function restartDelayMs(deaths: number): number {
  return Math.min(firstRestartDelayMs * 2 ** (deaths - 1), maxRestartDelayMs);
}

/** Keeps one Node process running until it is stopped. */
export function superviseProcess(options: SupervisedProcessOptions): SupervisedProcess {
  const stopping = new AbortController();
  const log = openLogFile(options.logPath, options.onLogError);
  let child: ChildProcess | undefined;
  let identity: ProcessIdentity | undefined;
  let deathCount = 0;

  const loop = async (): Promise<void> => {
    let deathsInARow = 0;
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      child = start(options, log);
      identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
      options.onChange();
      const how = await ended(child);
      identity = undefined;
      options.onChange();
      if (stopping.signal.aborted) break;
      deathCount += 1;
      deathsInARow = performance.now() - startedAt >= healthyAfterMs ? 1 : deathsInARow + 1;
      const delayMs = restartDelayMs(deathsInARow);
      options.onDeath(how, delayMs);
      // Ends early when it is stopped meanwhile.
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    log.close();
  };
  const finished = loop();

  const stop = async (): Promise<void> => {
    stopping.abort();
    child?.kill('SIGTERM');
    const killTimer = setTimeout(() => child?.kill('SIGKILL'), options.graceMs);
    await finished;
    clearTimeout(killTimer);
  };
  return {
    identity: () => identity,
    deathCount: () => deathCount,
    stop,
    kill: () => {
      stopping.abort();
      child?.kill('SIGKILL');
    },
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * How Node runs a service: it ends with its parent, and does not say each time that file system calls of ours go through a part of Node
 * that may still change (the pinned Node cannot).
 */
export function serviceArguments(script: string): string[] {
  return ['--disable-warning=ExperimentalWarning', '--import', join(import.meta.dirname, 'parent-watch.ts'), script];
}

/** The child is in a process group of its own: a Ctrl-C is for `up`, which then stops its children in order. */
function start(options: SupervisedProcessOptions, log: LogFile): ChildProcess {
  const child = spawn(process.execPath, serviceArguments(options.script), {
    cwd: options.cwd,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      options.onLine(line);
    });
  }
  return child;
}

async function ended(child: ChildProcess): Promise<string> {
  try {
    await once(child, 'exit');
    return child.signalCode ?? `exit ${child.exitCode}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error); // It could not be started at all.
  }
}
