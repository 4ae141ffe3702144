import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { restartDelayMs, superviseProcess, type SupervisedProcessOptions } from './supervised-process.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-supervised-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function supervise(code: string, change: Partial<SupervisedProcessOptions> = {}) {
  const script = join(folder, `${change.name ?? 'service'}.mjs`);
  await writeFile(script, code);
  const lines: string[] = [];
  const deaths: string[] = [];
  const child = superviseProcess({
    name: 'service',
    script,
    env: process.env,
    cwd: folder,
    logPath: join(folder, 'service.log'),
    graceMs: 10_000,
    onLine: (line) => lines.push(line),
    onLogError: (error) => expect.unreachable(String(error)),
    onChange: () => undefined,
    onDeath: (how) => deaths.push(how),
    ...change,
  });
  return { child, lines, deaths };
}

const stays = `process.on('SIGTERM', () => { console.log('bye'); process.exit(0); }); console.log('here', process.pid); setInterval(() => {}, 1000);`;

test('a process that dies is started again, a stopped one is not, and both are in the log', async () => {
  const { child, lines, deaths } = await supervise(stays);
  await expect.poll(() => lines.length).toBe(1);
  const first = child.identity();
  process.kill(first?.pid ?? 0, 'SIGKILL');
  await expect.poll(() => lines.length, { timeout: 10_000 }).toBe(2);
  expect(deaths).toEqual(['SIGKILL']);
  expect(child.deathCount()).toBe(1);
  await child.stop();
  await child.stop();
  expect(child.identity()).toBeUndefined();
  expect(deaths).toHaveLength(1);
  expect(await readFile(join(folder, 'service.log'), 'utf8')).toMatch(/^here \d+\nhere \d+\nbye\n$/);
});

test('one that does not listen is killed after the grace', async () => {
  const { child, lines } = await supervise(`process.on('SIGTERM', () => {}); console.log('deaf'); setInterval(() => {}, 1000);`, {
    graceMs: 300,
  });
  await expect.poll(() => lines.length).toBe(1);
  await child.stop();
  expect(child.identity()).toBeUndefined();
});

test('a process ends when the one that started it is killed', async () => {
  const [module, script, log] = [
    join(import.meta.dirname, 'supervised-process.ts'),
    join(folder, 'inner.mjs'),
    join(folder, 'inner.log'),
  ].map((path) => JSON.stringify(path));
  await writeFile(join(folder, 'inner.mjs'), stays);
  const parent = await supervise(
    `const { superviseProcess } = await import(${module});
     superviseProcess({ name: 'inner', script: ${script}, env: process.env, cwd: '/', logPath: ${log}, graceMs: 1000,
       onLogError: () => {}, onLine: (line) => console.log(line), onChange: () => {}, onDeath: () => {} });`,
    { name: 'parent' },
  );
  await expect.poll(() => parent.lines.at(-1) ?? '', { timeout: 10_000 }).toMatch(/^here \d+$/);
  const innerPid = Number(parent.lines.at(-1)?.split(' ')[1]);
  parent.child.kill();
  await expect.poll(() => isAlive(innerPid), { timeout: 10_000 }).toBe(false);
});

test('restarts wait longer each time, up to half a minute', () => {
  expect([1, 2, 3, 20].map(restartDelayMs)).toEqual([500, 1_000, 2_000, 30_000]);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
