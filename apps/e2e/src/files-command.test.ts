import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { workersInTurn } from '@holdfast/policy/worker-choice';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeDataTree } from './harness/data-tree.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

// An operator looks for a file with `holdfast files` and gets it, while the worker that serves it dies.

const cli = join(import.meta.dirname, '../../cli/src/main.ts');
const large = randomBytes(64 * 1024 * 1024);

let system: System;
let tenant: Tenant;
let source: string;
let jobId: string;

beforeAll(async () => {
  system = await startSystem({ queue: 'postgresql', workerCount: 2 });
  source = join(system.sources, 'wanted');
  await mkdir(source);
  await makeDataTree(source);
  await writeFile(join(source, 'large.bin'), large);
  await writeFile(join(source, 'site.conf'), 'one');
  tenant = await createTenant(system, { name: 'wanted', sourcePath: source });
  jobId = await backUp();
});
afterAll(() => system.stop());

async function backUp(): Promise<string> {
  const { id } = await system.api.post('/jobs', { backupConfigId: tenant.configId });
  expect(await system.api.finished(`/jobs/${id}`)).toMatchObject({ status: 'completed' });
  return id;
}

function startFiles(words: readonly string[]) {
  const { PATH = '', HOME = '' } = process.env;
  return spawn(process.execPath, [cli, 'files', ...words, '--api', system.api.baseUrl], {
    env: { PATH, HOME, HOLDFAST_JWT_SECRET: system.jwtSecret, NO_COLOR: '1' },
    cwd: system.targets,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function runFiles(...words: string[]): Promise<{ code: number | null; out: string; told: string }> {
  const child = startFiles(words);
  let [out, told] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (told += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, told };
}

test('a folder is listed, a file is found in one backup and over all, and got', async () => {
  const listed = await runFiles('ls', jobId, source);
  expect(listed).toMatchObject({ code: 0, out: expect.stringMatching(/^drwx\S+ .* docs\/$/mu) });
  expect(listed.out).toMatch(/^-rw\S+ .*\s3 B .* site\.conf$/mu);
  expect(listed.out).toMatch(/^-rw\S+ .*\s64\.0 MiB .* large\.bin$/mu);

  await writeFile(join(source, 'site.conf'), 'four');
  const later = await backUp();
  const found = await runFiles('find', '*.conf', '--config', tenant.configId);
  expect(found.out.split('\n')).toEqual([
    join(source, 'site.conf'),
    expect.stringMatching(new RegExp(`^ +3 B .* ${jobId}$`, 'u')),
    expect.stringMatching(new RegExp(`^ +4 B .* ${later}$`, 'u')),
    '',
  ]);
  expect(await runFiles('find', 'SITE.conf', '--job', later, '--ignore-case')).toMatchObject({
    out: expect.stringContaining('/site.conf'),
  });
  expect(await runFiles('find', 'nothing', '--job', later)).toMatchObject({
    code: 1,
    told: expect.stringContaining('nothing fits nothing'),
  });
  expect(await runFiles('find', 'x')).toMatchObject({ code: 1, told: expect.stringContaining('--job, --config') });

  expect(await runFiles('get', jobId, join(source, 'site.conf'))).toMatchObject({ code: 0, out: '', told: expect.stringContaining('3 B') });
  expect(await readFile(join(system.targets, 'site.conf'), 'utf8')).toBe('one');
  expect(await runFiles('get', later, join(source, 'site.conf'))).toMatchObject({
    code: 1,
    told: expect.stringContaining('is there already'),
  });
  expect(await runFiles('get', later, join(source, 'site.conf'), '-')).toMatchObject({ code: 0, out: 'four' });
  expect(await runFiles('get', later, join(source, 'site.conf'), '--force')).toMatchObject({ code: 0 });
  expect(await readFile(join(system.targets, 'site.conf'), 'utf8')).toBe('four');
  expect(await runFiles('get', later, join(source, 'away'))).toMatchObject({ code: 1, told: expect.stringContaining('path_not_found') });
  expect((await readdir(system.targets)).filter((name) => name.includes('part'))).toEqual([]);
});

test('a download goes on at another worker when the one that serves it is killed', { timeout: 120_000 }, async () => {
  const child = startFiles(['get', jobId, join(source, 'large.bin'), '-']);
  const hash = createHash('sha256');
  let told = '';
  child.stderr.on('data', (bytes: Buffer) => (told += bytes.toString()));
  // Nobody takes more than a first piece until the worker is dead.
  await once(child.stdout, 'readable');
  const repositoryId = String((await system.api.get(`/configs/${tenant.configId}`))['repositoryId']);
  const { workers } = await system.api.get<{ workers: { id: string; pid: number }[] }>('/status');
  const first = workersInTurn(workers, repositoryId)[0];
  await system.workers.find(({ pid }) => pid === first?.pid)?.end('SIGKILL');
  for await (const bytes of child.stdout) hash.update(bytes as Buffer);
  if (child.exitCode === null) await once(child, 'exit');
  expect([child.exitCode, hash.digest('hex')], told).toEqual([0, createHash('sha256').update(large).digest('hex')]);
  expect(system.workers.filter((worker) => worker.exited())).toHaveLength(1);
});
