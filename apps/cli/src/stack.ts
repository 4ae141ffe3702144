import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { workerMemory } from '@holdfast/settings/worker-memory';
import { apiPrefix } from './api-client.ts';
import type { Checkout } from './checkout.ts';
import { consoleTextOf } from './log-line.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { superviseProcess, type SupervisedProcess, type SupervisedProcessOptions } from './supervised-process.ts';

export interface StackOptions {
  readonly checkout: Checkout;
  /** Of the API and the workers. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly apiUrl: string;
  readonly workerCount: number;
  readonly shutdownGraceMs: number;
  /** Tells the console. */
  readonly say: (text: string) => void;
  /** The processes that run now, after each change. */
  readonly onProcesses: (processes: readonly ProcessIdentity[]) => void;
  readonly signal: AbortSignal;
}

export interface Stack extends AsyncDisposable {
  /** Waits until the API says that it is well. Throws when it does not become so in time. */
  untilHealthy(): Promise<void>;
  /** SIGTERM to all at once, SIGKILL to who is not gone after the grace. */
  stop(): Promise<void>;
  kill(): void;
}

const healthTimeoutMs = 60_000;
const healthPollMs = 100;
const healthRequestTimeoutMs = 5_000;
/** A process that died so often before all were up has a reason that does not pass. */
const maxDeathsAtStart = 3;
/** After the grace a worker still interrupts its runs, tells their rows and closes, each with a bound of its own; beyond this it is stuck. */
const killAfterGraceMs = 35_000;
const rememberedLines = 5;

/** The API and the workers as processes of their own, each started again when it dies. */
export function startStack(options: StackOptions): Stack {
  const lastWords: string[] = [];
  const processes: SupervisedProcess[] = [];
  const tellProcesses = (): void => options.onProcesses(processes.flatMap((child) => child.identity() ?? []));
  const start = (name: string, script: string, env: SupervisedProcessOptions['env']): SupervisedProcess =>
    superviseProcess({
      name,
      script,
      env,
      cwd: options.checkout.root,
      logPath: join(options.checkout.stateFolder, 'logs', `${name}.log`),
      graceMs: options.shutdownGraceMs + killAfterGraceMs,
      onLine: (line) => {
        const text = consoleTextOf(line);
        if (text === undefined) return;
        lastWords.push(`${name}: ${text}`);
        if (lastWords.length > rememberedLines) lastWords.shift();
        options.say(`${name}: ${text}`);
      },
      onLogError: (error) => options.say(`the log of ${name} cannot be written: ${String(error)}`),
      onChange: tellProcesses,
      onDeath: (how, delayMs) => options.say(`${name} ended (${how}) and is started again in ${delayMs / 1000} s`),
    });
  processes.push(start('api', options.checkout.apiMain, options.environment));
  for (let number = 1; number <= options.workerCount; number += 1) {
    processes.push(start(`worker-${number}`, options.checkout.workerMain, { ...workerMemory, ...options.environment }));
  }
  // Each told of its start before it was among them.
  tellProcesses();

  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((child) => child.stop()));
  };
  return {
    async untilHealthy() {
      const deadline = performance.now() + healthTimeoutMs;
      for (let state = ''; ;) {
        options.signal.throwIfAborted();
        state = await probe(options.apiUrl, options.signal);
        if (state === 'ok') return;
        const isDying = processes.some((child) => child.deathCount() >= maxDeathsAtStart);
        if (isDying || performance.now() > deadline) throw notHealthy(options, state, lastWords);
        await sleep(healthPollMs, undefined, { signal: options.signal });
      }
    },
    stop,
    kill: () => {
      for (const child of processes) child.kill();
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** `ok`, or why not. */
async function probe(apiUrl: string, signal: AbortSignal): Promise<string> {
  try {
    const response = await fetch(`${apiUrl}${apiPrefix}/health`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(healthRequestTimeoutMs)]),
    });
    const body = await response.text();
    return response.ok ? 'ok' : `health answers ${response.status} ${body}`;
  } catch (error) {
    return `health does not answer (${error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)})`;
  }
}

function notHealthy(options: StackOptions, state: string, lastWords: readonly string[]): HoldfastError {
  const said = lastWords.length === 0 ? '' : `; last said: ${lastWords.join(' | ')}`;
  return new HoldfastError('internal', `the services did not come up: ${state}${said}`, {
    hint: `see the logs in ${join(options.checkout.stateFolder, 'logs')}`,
  });
}
