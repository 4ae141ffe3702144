import { spawn } from 'node:child_process';
import { lstat, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ProgramHookOptions } from '@holdfast/sources/source-options/hooks';
import type { HookCall, HookAnswer } from './call-hook.ts';
import { HookOutput } from './hook-output.ts';

const executableBits = 0o111;
const writableByOthers = 0o022;

/** What was written before a program ended may still be in its pipes; longer than this a child of it holds them open. */
const drainMs = 200;

/**
 * Runs a program of the hooks folder, without arguments and with nothing of the worker's environment. When its time is over, or the signal
 * aborts, it is killed with its whole process group. Codes: hook_not_found, hook_failed, the signal's reason.
 */
export async function runProgramHook(hook: ProgramHookOptions, call: HookCall): Promise<HookAnswer> {
  const { hooksDir, signal, secrets } = call;
  const program = await findProgram(hook.name, hooksDir);
  signal.throwIfAborted();
  const env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOLDFAST_HOOK: call.action,
    HOLDFAST_JOB_ID: call.jobId,
    HOLDFAST_CONFIG_ID: call.configId,
  };
  // A group of its own, so that all that it starts can be ended with it.
  const child = spawn(program, [], { env, cwd: dirname(program), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const output = new HookOutput();
  child.stdout.on('data', (bytes: Uint8Array) => output.add(bytes));
  child.stderr.on('data', (bytes: Uint8Array) => output.add(bytes));
  const ended = Promise.withResolvers<string>();
  const drained = Promise.withResolvers<void>();
  child.on('error', (error) => ended.reject(failed(hook, `could not be started: ${error.message}`)));
  child.on('exit', (code, killedBy) => ended.resolve(killedBy ?? `code ${code}`));
  child.on('close', () => drained.resolve());
  let isLate = false;
  const killGroup = (): void => endGroup(child.pid);
  const timer = setTimeout(() => {
    isLate = true;
    killGroup();
  }, hook.timeoutSeconds * 1000);
  signal.addEventListener('abort', killGroup, { once: true });
  try {
    const how = await ended.promise;
    await withinDrain(drained.promise);
    signal.throwIfAborted();
    const text = output.text(secrets);
    if (isLate) throw failed(hook, `was killed: it ran for more than ${hook.timeoutSeconds} s`, text);
    if (how === 'code 0') return { output: text };
    killGroup();
    throw failed(hook, `ended with ${how}`, text);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', killGroup);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

async function withinDrain(drained: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, drainMs);
  await Promise.race([drained, promise]);
  clearTimeout(timer);
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // All of it has ended.
    if (errnoCode(error) !== 'ESRCH') throw error;
  }
}

/** Its real path: a regular file in the very folder, which nobody but its owner may change. Code: hook_not_found. */
async function findProgram(name: string, hooksDir: string | undefined): Promise<string> {
  if (hooksDir === undefined) throw notFound(name, 'this worker has no hooks folder: HOLDFAST_HOOKS_DIR is not set');
  try {
    const folder = await realpath(hooksDir);
    const path = await realpath(join(folder, name));
    if (dirname(path) !== folder) throw notFound(name, 'it leads out of the hooks folder');
    const [found, around] = [await lstat(path), await lstat(folder)];
    if (!found.isFile()) throw notFound(name, 'it is no regular file');
    if ((found.mode & executableBits) === 0) throw notFound(name, 'it is not executable');
    if (((found.mode | around.mode) & writableByOthers) !== 0) throw notFound(name, 'others than its owner may change it or its folder');
    return path;
  } catch (error) {
    if (errnoCode(error) === undefined) throw error;
    throw notFound(name, `it is not in the hooks folder (${errnoCode(error)})`);
  }
}

function notFound(name: string, why: string): HoldfastError {
  return new HoldfastError('hook_not_found', `hook ${JSON.stringify(name)} cannot be run: ${why}`);
}

function failed({ name }: ProgramHookOptions, why: string, output = ''): HoldfastError {
  const said = output === '' ? '' : `; it said: ${output.slice(-500)}`;
  return new HoldfastError('hook_failed', `hook ${JSON.stringify(name)} ${why}${said}`);
}
