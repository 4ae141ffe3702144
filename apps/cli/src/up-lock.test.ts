import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identifyProcess, isSameProcessAlive } from './process-identity.ts';
import { acquireUpLock, readRunningUp } from './up-lock.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-lock-'));
});
afterEach(() => rm(folder, { recursive: true }));

const writeLock = (state: object): Promise<void> => writeFile(join(folder, 'up.lock'), JSON.stringify(state));
const sleeper = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });

test('a second up is told who runs and where', async () => {
  const lock = await acquireUpLock(folder, () => undefined);
  lock.update({ apiUrl: 'http://127.0.0.1:1' });
  expect(readRunningUp(folder)).toMatchObject({ pid: process.pid, apiUrl: 'http://127.0.0.1:1', children: [] });
  await expect(acquireUpLock(folder, () => undefined)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(`process ${process.pid}, API at http://127.0.0.1:1`),
  });
  lock.release();
  expect(readRunningUp(folder)).toBeUndefined();
  expect(existsSync(join(folder, 'up.lock'))).toBe(false);
});

test('the lock of a process that is gone, or whose number another process has now, is taken over', async () => {
  for (const state of [
    { pid: 2 ** 22 + 1, startedAt: '1', children: [] },
    { pid: process.pid, startedAt: '1', children: [] },
  ]) {
    await writeLock(state);
    const told: string[] = [];
    const lock = await acquireUpLock(folder, (text) => told.push(text));
    expect(told).toHaveLength(1);
    lock.release();
  }
  await writeFile(join(folder, 'up.lock'), '{"pid":');
  const lock = await acquireUpLock(folder, () => undefined);
  lock.release();
});

test('children of a killed up are waited for, and only they', async () => {
  const child = sleeper();
  const stranger = sleeper();
  await Promise.all([once(child, 'spawn'), once(stranger, 'spawn')]);
  const identity = identifyProcess(child.pid ?? 0);
  expect(identity).toBeDefined();
  setTimeout(() => child.kill(), 300);
  await writeLock({ pid: 2 ** 22 + 1, startedAt: '1', children: [identity, { pid: stranger.pid, startedAt: 'another time' }] });
  const lock = await acquireUpLock(folder, () => undefined);
  expect(identity !== undefined && isSameProcessAlive(identity)).toBe(false);
  expect(stranger.exitCode).toBeNull();
  expect(stranger.signalCode).toBeNull();
  lock.release();
  stranger.kill();
});
