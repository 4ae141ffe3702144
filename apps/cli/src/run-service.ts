import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { serviceArguments } from './supervised-process.ts';
import { untilAborted, watchStopSignals } from './stop-signals.ts';

/** Runs one service in the foreground, with the caller's environment and terminal; returns its exit code. */
export async function runService(script: string, environment: Readonly<Record<string, string | undefined>>): Promise<number> {
  const child = spawn(process.execPath, serviceArguments(script), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...environment, HOLDFAST_PARENT_PID: undefined },
    // So that a Ctrl-C comes once, from here.
    detached: true,
  });
  using stop = watchStopSignals(environment, () => child.kill('SIGKILL'));
  void untilAborted(stop.signal).then(() => child.kill('SIGTERM'));
  await once(child, 'exit');
  return child.exitCode ?? 128 + constants.signals[child.signalCode ?? 'SIGKILL'];
}
