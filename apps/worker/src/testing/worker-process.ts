import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { WorkerFixture } from './worker-fixture.ts';

/** A worker in a process of its own. */
export interface WorkerProcess extends AsyncDisposable {
  /** SIGKILL: nothing is put in order by it. Returns when it is gone. */
  kill(): Promise<void>;
}

/** Starts it and waits until it takes runs. `environment`: over that of the fixture. The clock of a quick worker is the system's. */
export async function startWorkerProcess(
  fixture: WorkerFixture,
  environment: Readonly<Record<string, string>>,
  program: 'hurried-worker.ts' | 'quick-worker.ts' = 'hurried-worker.ts',
): Promise<WorkerProcess> {
  const { PATH = '', HOME = '' } = process.env;
  const entry = fileURLToPath(new URL(program, import.meta.url));
  const env = { PATH, HOME, ...fixture.environment, ...environment };
  const child = spawn(process.execPath, [entry], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  const ready = await Promise.race([once(child.stdout, 'data').then(() => true), ended.then(() => false)]);
  if (!ready) throw new Error(`the worker ended at its start with ${child.exitCode}`);
  return { kill, [Symbol.asyncDispose]: kill };
}
