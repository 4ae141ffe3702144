import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

// scripts/run.mjs in a small checkout of its own, with an `npx` that notes what it is asked and makes the two tools that are called.
const root = join(import.meta.dirname, '..');
let checkout: string;

beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'holdfast-run-'));
  for (const folder of ['libs/a', 'prisma', 'bin', 'scripts']) await mkdir(join(checkout, folder), { recursive: true });
  await cp(join(root, 'scripts', 'run.mjs'), join(checkout, 'scripts', 'run.mjs'));
  await cp(join(root, 'scripts', 'run'), join(checkout, 'scripts', 'run'), { recursive: true });
  await writeFile(join(checkout, 'package.json'), '{"packageManager":"pnpm@1.2.3"}');
  await writeFile(join(checkout, 'libs', 'a', 'package.json'), '{}');
  for (const name of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'prisma/schema.prisma']) await writeFile(join(checkout, name), '');
  await program('bin/npx', [
    'echo "npx $@" >> calls',
    '[ ! -e broken ] || exit 7',
    'sleep 0.2',
    'mkdir -p node_modules/.bin && cp prisma-tool node_modules/.bin/prisma && cp tool node_modules/.bin/tool',
  ]);
  await program('prisma-tool', [
    'echo "prisma $@ $CHECKPOINT_DISABLE" >> calls',
    '"$PRISMA_SCHEMA_ENGINE_BINARY" --version > /dev/null || exit 1',
    'mkdir -p libs/database/generated && touch libs/database/generated/client.ts',
  ]);
  await program('tool', ['echo "tool $@ in $PWD"', '[ "$1" != code ] || exit "$2"', '[ "$1" != wait ] || exec sleep 30']);
});
afterEach(() => rm(checkout, { recursive: true }));

async function program(path: string, lines: string[]): Promise<void> {
  await writeFile(join(checkout, path), ['#!/bin/sh', ...lines, ''].join('\n'));
  await chmod(join(checkout, path), 0o755);
}

function run(...words: string[]) {
  const child = spawn(process.execPath, [join(checkout, 'scripts', 'run.mjs'), ...words], {
    cwd: tmpdir(),
    env: { ...process.env, PATH: join(checkout, 'bin') + delimiter + (process.env['PATH'] ?? ''), npm_lifecycle_event: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr]: [string[], string[]] = [[], []];
  child.stdout.setEncoding('utf8').on('data', (text: string) => stdout.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout: stdout.join(''), stderr: stderr.join('') }));
  });
  return { child, ended, stdout: () => stdout.join('') };
}

const calls = async (): Promise<string[]> => {
  const path = join(checkout, 'calls');
  return existsSync(path) ? (await readFile(path, 'utf8')).trim().split('\n') : [];
};
const installCall = 'npx -y pnpm@1.2.3 install --frozen-lockfile --prefer-offline --config.confirmModulesPurge=false';
const generateCall = 'prisma generate --schema prisma/schema.prisma 1';

test('the first run installs and generates, the next does neither, and standard output is the tool alone', async () => {
  expect(await run('tool', 'a', 'b').ended).toMatchObject({ code: 0, stdout: `tool a b in ${checkout}\n` });
  expect(await calls()).toEqual([installCall, generateCall]);
  expect(await run('tool').ended).toMatchObject({ code: 0, stderr: '' });
  expect(await calls()).toHaveLength(2);
});

test('a changed manifest or lockfile installs again, a changed schema only generates, a missing client is made', async () => {
  await run('tool').ended;
  await appendFile(join(checkout, 'libs', 'a', 'package.json'), ' ');
  await run('tool').ended;
  expect((await calls()).slice(2)).toEqual([installCall]);
  await appendFile(join(checkout, 'prisma', 'schema.prisma'), '// more');
  await run('tool').ended;
  expect((await calls()).slice(3)).toEqual([generateCall]);
  await rm(join(checkout, 'libs', 'database', 'generated'), { recursive: true });
  await run('tool').ended;
  expect((await calls()).slice(4)).toEqual([generateCall]);
  await rm(join(checkout, 'node_modules'), { recursive: true });
  await run('tool').ended;
  expect((await calls()).slice(5)).toEqual([installCall]);
});

test('of three at once one installs, and the others wait and say so', async () => {
  const ends = await Promise.all([run('tool').ended, run('tool').ended, run('tool').ended]);
  expect(ends.map((end) => end.code)).toEqual([0, 0, 0]);
  expect(await calls()).toEqual([installCall, generateCall]);
  expect(ends.filter((end) => /waiting for process \d+, which is installing/.test(end.stderr))).toHaveLength(2);
});

test('a lock that a killed run left behind holds nobody up', async () => {
  await mkdir(join(checkout, 'node_modules'));
  await writeFile(
    join(checkout, 'node_modules', '.holdfast-prepare.lock'),
    JSON.stringify({ pid: process.pid, startedAt: 'another time' }),
  );
  expect(await run('tool').ended).toMatchObject({ code: 0 });
});

test('an installation that fails is told, leaves no stamp, and is tried again', async () => {
  await writeFile(join(checkout, 'broken'), '');
  const failed = await run('tool').ended;
  expect(failed).toMatchObject({ code: 1, stdout: '' });
  expect(failed.stderr).toMatch(/the dependencies could not be installed; check the network, .* \(exit 7; its own message is above\)\n$/);
  await rm(join(checkout, 'broken'));
  expect(await run('tool').ended).toMatchObject({ code: 0 });
  expect(await calls()).toEqual([installCall, installCall, generateCall]);
});

test('exit codes and signals pass through, and what is no command is refused', async () => {
  expect(await run('tool', 'code', '42').ended).toMatchObject({ code: 42 });
  const waiting = run('tool', 'wait');
  await expect.poll(waiting.stdout).toContain('tool wait');
  waiting.child.kill('SIGTERM');
  expect(await waiting.ended).toMatchObject({ signal: 'SIGTERM' });
  for (const word of ['nothing', '../tool', 'check']) {
    expect(await run(word).ended).toMatchObject({ code: 1, stderr: expect.stringContaining(`there is no command ${word}`) });
  }
});
