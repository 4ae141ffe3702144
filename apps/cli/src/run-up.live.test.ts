import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isSameProcessAlive } from './process-identity.ts';
import { readRunningUp, type UpState } from './up-lock.ts';

// The command as a user starts it, with a state folder of its own: PostgreSQL, API and workers in processes of their own.
const startTimeoutMs = 90_000;
const stopTimeoutMs = 60_000;

let stateFolder: string;
const started: ChildProcess[] = [];
beforeEach(async () => {
  stateFolder = await mkdtemp(join(tmpdir(), 'holdfast-up-'));
});
afterEach(async () => {
  for (const child of started.splice(0)) if (child.exitCode === null && child.signalCode === null) await stop(child);
  await rm(stateFolder, { recursive: true, force: true });
});

function start(...words: string[]) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_') && !name.endsWith('_URL'));
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...words], {
    env: { ...Object.fromEntries(inherited), HOLDFAST_STATE_DIR: stateFolder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => output.push(text));
  const ended = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'gone'));
  });
  return { child, ended, output: () => output.join('') };
}

const up = () => start('up', '--no-tour', '--port', '0', '--workers', '1');
type Up = ReturnType<typeof up>;

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM');
  await expect.poll(() => child.exitCode ?? child.signalCode, { timeout: stopTimeoutMs }).not.toBeNull();
}

/** Waits until it is up and well; gives what its lock says of it. */
async function untilUp(running: Up): Promise<UpState & { apiUrl: string }> {
  await expect.poll(running.output, { timeout: startTimeoutMs }).toContain('Holdfast is up');
  const state = readRunningUp(stateFolder);
  if (state?.apiUrl === undefined) throw new Error('the lock names no API');
  const health = await fetch(`${state.apiUrl}/api/backup/health`);
  expect(await health.json()).toMatchObject({ database: { state: 'ok' }, queue: { state: 'ok' } });
  expect(state.children).toHaveLength(2);
  return { ...state, apiUrl: state.apiUrl };
}

function postmasterPid(): number {
  return Number(readFileSync(join(stateFolder, 'postgres', 'cluster', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('up answers, refuses a second one, gives tokens that work, and SIGTERM leaves no process behind', async () => {
  const running = up();
  const state = await untilUp(running);
  const postgres = postmasterPid();

  const second = up();
  expect(await second.ended).toBe(1);
  expect(second.output()).toContain(`already running for ${stateFolder} (process ${running.child.pid}, API at ${state.apiUrl})`);

  const token = start('token', '--role', 'viewer', '--expires', '1m');
  expect(await token.ended).toBe(0);
  const configs = `${state.apiUrl}/api/backup/configs`;
  expect((await fetch(configs, { headers: { authorization: `Bearer ${token.output().trim()}` } })).status).toBe(200);
  expect((await fetch(configs)).status).toBe(401);

  const migrate = start('migrate');
  expect(await migrate.ended).toBe(0);
  expect(migrate.output()).toContain('up to date');

  running.child.kill('SIGTERM');
  expect(await running.ended).toBe(0);
  expect(state.children.filter(isSameProcessAlive)).toEqual([]);
  expect(isAlive(postgres)).toBe(false);
  expect(existsSync(join(stateFolder, 'up.lock'))).toBe(false);
  for (const name of ['api', 'worker-1']) expect(readFileSync(join(stateFolder, 'logs', `${name}.log`), 'utf8')).not.toBe('');
});

test('after kill -9 its services end by themselves, and the next up takes over with the same database', async () => {
  const first = up();
  const before = await untilUp(first);
  first.child.kill('SIGKILL');
  await first.ended;
  const second = up();
  const after = await untilUp(second);
  expect(second.output()).toContain(`an earlier holdfast up (process ${before.pid}) did not stop in an orderly way`);
  expect(before.children.filter(isSameProcessAlive)).toEqual([]);
  expect(after.pid).toBe(second.child.pid);
  second.child.kill('SIGTERM');
  expect(await second.ended).toBe(0);
});

test('a service that is killed comes back', async () => {
  const running = up();
  const { children, apiUrl } = await untilUp(running);
  for (const child of children) process.kill(child.pid, 'SIGKILL');
  const isBack = async () => {
    const now = readRunningUp(stateFolder)?.children ?? [];
    const answer = await fetch(`${apiUrl}/api/backup/health`).catch(() => undefined);
    return answer?.status === 200 && now.length === 2 && now.every((child) => !children.some((old) => old.pid === child.pid));
  };
  await expect.poll(isBack, { timeout: 30_000 }).toBe(true);
  expect(running.output()).toMatch(/api ended \(SIGKILL\) and is started again in 0\.5 s/);
});

test('a port that another program has is refused by name when it was asked for', async () => {
  const { createServer } = await import('node:net');
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const refused = start('up', '--no-tour', '--port', String(port));
  expect(await refused.ended).toBe(1);
  expect(refused.output()).toContain(`port ${port} of 127.0.0.1 is in use by another program`);
  other.close();
});
