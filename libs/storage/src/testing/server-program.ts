import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A real server that a test runs on this machine: started, killed, started again at the same port, and gone with the test process. */
export interface ServerProgram extends AsyncDisposable {
  readonly pid: number;
  /** What it has said so far, of both streams; the last of it. */
  output(): string;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** After a kill; the same command again. */
  start(): Promise<void>;
}

export interface ServerProgramOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Resolves when the server takes requests; called again and again until then. */
  readonly answers: () => Promise<void>;
  readonly startLimitMs?: number;
}

/** On a loaded machine the slowest of the servers takes ten seconds. */
const defaultStartLimitMs = 60_000;
const stopLimitMs = 5_000;
const pollMs = 50;
const keptOutputChars = 20_000;

/** Starts a server and waits until it answers. Rejects with what it said when it ends before, or takes too long. */
export async function startServerProgram(options: ServerProgramOptions): Promise<ServerProgram> {
  const { program, args, answers, startLimitMs = defaultStartLimitMs } = options;
  let child: ChildProcess | undefined;
  let said = '';

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child?.kill('SIGKILL'), stopLimitMs);
    await ended;
    clearTimeout(timer);
  };
  // A test process that ends early takes it along.
  const takeAlong = (): void => void child?.kill('SIGKILL');
  const start = async (): Promise<void> => {
    process.off('exit', takeAlong).once('exit', takeAlong);
    const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: options.env ?? process.env });
    child = started;
    let failure: unknown;
    started.on('error', (error) => (failure = error));
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-keptOutputChars)));
    }
    const giveUpAtMs = performance.now() + startLimitMs;
    for (;;) {
      if (failure !== undefined) throw new Error(`${program} could not be started`, { cause: failure });
      if (started.exitCode !== null) throw new Error(`${program} ended with ${String(started.exitCode)}: ${said}`);
      try {
        await answers();
        return;
      } catch (error) {
        if (performance.now() <= giveUpAtMs) await sleep(pollMs);
        else {
          await end('SIGKILL');
          throw new Error(`${program} does not answer: ${said}`, { cause: error });
        }
      }
    }
  };

  await start();
  return {
    get pid() {
      return child?.pid ?? 0;
    },
    output: () => said,
    kill: () => end('SIGKILL'),
    start,
    async [Symbol.asyncDispose]() {
      await end('SIGTERM');
      process.off('exit', takeAlong);
    },
  };
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  server.close();
  await once(server, 'close');
  return address.port;
}

/** Resolves when something takes connections at the port of 127.0.0.1. */
export async function connects(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}
