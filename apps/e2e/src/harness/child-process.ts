import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const outputKeptBytes = 64 * 1024; // the end of a child's output, shown when a test fails

/** A process of the system under test. Its output is kept (the last 64 KiB) so that a failure can show it. */
export interface RunningProcess {
  readonly pid: number;
  readonly name: string;
  output(): string;
  exited(): boolean;
  /** Sends `signal` and waits for the end. A process that is gone already is no error. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts `node entry ...words` with `env` and resolves as soon as it runs; readiness is the caller's to wait for. */
export function startNode(name: string, entry: string, env: Record<string, string>, words: readonly string[] = []): RunningProcess {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [entry, ...words], { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  return watch(name, child);
}

function watch(name: string, child: ChildProcess): RunningProcess {
  let kept = '';
  const keep = (chunk: Buffer) => {
    kept = (kept + chunk.toString()).slice(-outputKeptBytes);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} did not start`);
  const ended = once(child, 'exit');
  const exited = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid,
    name,
    output: () => kept,
    exited,
    async end(signal) {
      if (!exited()) {
        child.kill(signal);
        await ended;
      }
      return child.exitCode;
    },
  };
}
