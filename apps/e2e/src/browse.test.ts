import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { workersInTurn } from '@holdfast/policy/worker-choice';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signToken } from './harness/api-client.ts';
import type { RunningProcess } from './harness/child-process.ts';
import { describeTree, makeDataTree, run } from './harness/data-tree.ts';
import { eventually } from './harness/eventually.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

// A user looks into backups over the API; two workers are there to look, and one of them dies in the middle.

let system: System;
let tenant: Tenant;
let source: string;
let jobId: string;
let repositoryId: string;
const large = randomBytes(96 * 1024 * 1024);

beforeAll(async () => {
  system = await startSystem({ queue: 'postgresql', workerCount: 2 });
  source = join(system.sources, 'browsed');
  await mkdir(source);
  await makeDataTree(source);
  await writeFile(join(source, 'large.bin'), large);
  await writeFile(join(source, 'page.html'), '<script>alert(1)</script>');
  tenant = await createTenant(system, { name: 'browsed', sourcePath: source });
  jobId = await backUp();
  repositoryId = String((await system.api.get(`/configs/${tenant.configId}`))['repositoryId']);
});
afterAll(() => system.stop());

async function backUp(): Promise<string> {
  const { id } = await system.api.post('/jobs', { backupConfigId: tenant.configId });
  expect(await system.api.finished(`/jobs/${id}`)).toMatchObject({ status: 'completed' });
  return id;
}

const fetchPart = (path: string, headers: Record<string, string> = {}, baseUrl = system.api.baseUrl): Promise<Response> =>
  fetch(`${baseUrl}/api/backup/jobs/${jobId}/${path}`, { headers: { authorization: `Bearer ${system.api.token}`, ...headers } });

const pathOf = (name: string) => encodeURIComponent(join(source, name));

test('a folder is listed, searched and read, in ranges too, and each read of content is told of', async () => {
  const folder = await system.api.get(`/jobs/${jobId}/files?path=${pathOf('docs/deep/er')}`);
  expect(folder.items).toMatchObject([{ name: String.raw`naïve "quoted" \\ <&> name.txt`, type: 'file', sizeBytes: 9 }]);
  const odd = String(folder.items[0]?.['path']);
  expect(await (await fetchPart(`files/content?path=${encodeURIComponent(odd)}`)).text()).toBe('odd name\n');
  const found = await system.api.get(`/jobs/${jobId}/files?glob=note-1*.txt&type=file`);
  expect(found.items).toHaveLength(11);

  const page = await fetchPart(`files/content?path=${pathOf('page.html')}`);
  expect(Object.fromEntries(page.headers)).toMatchObject({
    'content-type': 'text/html',
    'content-disposition': 'attachment; filename=page.html',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  });
  const part = await fetchPart(`files/content?path=${pathOf('large.bin')}`, { range: 'bytes=1000-1999' });
  expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 1000-1999/${large.length}`]);
  expect(Buffer.from(await part.arrayBuffer()).equals(large.subarray(1000, 2000))).toBe(true);
  const beyond = await fetchPart(`files/content?path=${pathOf('large.bin')}`, { range: `bytes=${large.length}-` });
  expect([beyond.status, beyond.headers.get('content-range'), await codeOf(beyond)]).toEqual([
    416,
    `bytes */${large.length}`,
    'range_not_satisfiable',
  ]);
  const head = await fetch(`${system.api.baseUrl}/api/backup/jobs/${jobId}/files/content?path=${pathOf('large.bin')}`, {
    method: 'HEAD',
    headers: { authorization: `Bearer ${system.api.token}` },
  });
  expect([head.status, head.headers.get('content-length'), head.headers.get('etag')]).toEqual([
    200,
    String(large.length),
    part.headers.get('etag'),
  ]);
  const known = await fetchPart(`files/content?path=${pathOf('large.bin')}`, { 'if-none-match': head.headers.get('etag') ?? '' });
  expect([known.status, await known.text()]).toEqual([304, '']);

  const events = await readEvents();
  expect(events.filter(({ type }) => type === 'backup.content_read').map(({ data }) => data)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ by: 'e2e', as: 'file', paths: [join(source, 'large.bin')], range: 'bytes=1000-1999' }),
      expect.objectContaining({ as: 'file', paths: [odd], range: null }),
    ]),
  );
});

test('viewers see names, and only operators content; nobody sees what is of another entity', async () => {
  const asking = (role: 'viewer' | 'operator', entities: '*' | string[]) => ({
    authorization: `Bearer ${signToken(system.jwtSecret, { sub: role, role, entities })}`,
  });
  const content = `files/content?path=${pathOf('page.html')}`;
  expect((await fetchPart('files', asking('viewer', '*'))).status).toBe(200);
  expect((await fetchPart(content, asking('viewer', '*'))).status).toBe(403);
  expect((await fetchPart(content, asking('operator', [tenant.entityId]))).status).toBe(200);
  for (const path of ['files', content, `archive?paths=${pathOf('docs')}`, `diff/${jobId}`]) {
    expect((await fetchPart(path, asking('operator', ['another']))).status, path).toBe(404);
  }
});

test('an archive is unpacked to what was backed up', async () => {
  const target = await mkdtemp(join(system.targets, 'archive-'));
  const answer = await fetchPart(`archive?paths=${pathOf('')}`);
  expect(answer.headers.get('content-type')).toBe('application/x-tar');
  await writeFile(join(target, 'a.tar'), Buffer.from(await answer.arrayBuffer()));
  await run('tar', ['-xpf', 'a.tar', '--no-same-owner'], { cwd: target });
  const whole = (lines: string[]): string[] => lines.map((line) => line.replace(/ \d+( links|$)/u, '$1'));
  expect(whole(await describeTree(join(target, source)))).toEqual(whole(await describeTree(source)));
});

test('a second API answers the same, and what changed from one backup to the next is told', async () => {
  await writeFile(join(source, 'docs/note-0.txt'), 'no longer empty');
  const later = await backUp();
  const second = await system.startApi();
  const diff = await fetch(`${second}/api/backup/jobs/${jobId}/diff/${later}?path=${pathOf('docs')}`, {
    headers: { authorization: `Bearer ${system.api.token}` },
  });
  expect(await diff.json()).toMatchObject({
    items: [{ path: join(source, 'docs/note-0.txt'), change: 'modified', before: { sizeBytes: 0 }, after: { sizeBytes: 15 } }],
    totals: { added: 0, removed: 0, modified: 1 },
  });
  const found = await system.api.get(`/files/search?configId=${tenant.configId}&name=note-0.txt`);
  expect(found.items).toMatchObject([{ versions: [{ first: { backupJobId: jobId } }, { first: { backupJobId: later } }] }]);
});

test('a worker that is killed cuts the download, and the next one serves', { timeout: 120_000 }, async () => {
  const before = await openDownload();
  await once(before, 'readable');
  const victim = await workerOf(repositoryId);
  await victim.end('SIGKILL');
  // What was on its way still arrives, and then no end that could be taken for one.
  await expect(sizeOf(before)).rejects.toThrow('aborted');

  const after = await eventually(
    'another worker answers',
    async () => {
      const answer = await fetchPart(`files/content?path=${pathOf('large.bin')}`);
      return answer.ok ? answer : undefined;
    },
    60_000,
  );
  const bytes = Buffer.from(await after.arrayBuffer());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(createHash('sha256').update(large).digest('hex'));

  for (const worker of system.workers.filter((each) => !each.exited())) await worker.end('SIGKILL');
  const nobody = await fetchPart('files');
  expect([nobody.status, nobody.headers.get('retry-after'), await codeOf(nobody)]).toEqual([503, '10', 'worker_unreachable']);
});

async function codeOf(answer: Response): Promise<string> {
  return ((await answer.json()) as { code: string }).code;
}

async function readEvents(): Promise<{ type: string; data: Record<string, unknown> }[]> {
  const controller = new AbortController();
  const answer = await fetch(`${system.api.baseUrl}/api/backup/events?after=0&subjectId=${jobId}`, {
    headers: { authorization: `Bearer ${system.api.token}` },
    signal: controller.signal,
  });
  let text = '';
  for await (const piece of answer.body ?? []) {
    text += Buffer.from(piece as Uint8Array).toString();
    // The place in the log, which follows what is replayed.
    if (/\nid: \d+\n\n$/u.test(text)) break;
  }
  controller.abort();
  return text.split('\n').flatMap((line) => (line.startsWith('data: {"sequence"') ? [JSON.parse(line.slice('data: '.length))] : []));
}

async function openDownload(): Promise<IncomingMessage> {
  const url = `${system.api.baseUrl}/api/backup/jobs/${jobId}/files/content?path=${pathOf('large.bin')}`;
  const [response] = await once(httpGet(url, { headers: { authorization: `Bearer ${system.api.token}` }, agent: false }), 'response');
  return response as IncomingMessage;
}

async function sizeOf(response: IncomingMessage): Promise<number> {
  let sizeBytes = 0;
  for await (const bytes of response) sizeBytes += (bytes as Buffer).length;
  return sizeBytes;
}

/** The one that looks into a repository. */
async function workerOf(id: string): Promise<RunningProcess> {
  const { workers } = await system.api.get<{ workers: { id: string; pid: number; isAlive: boolean }[] }>('/status');
  const first = workersInTurn(workers, id)[0];
  const worker = system.workers.find(({ pid }) => pid === first?.pid);
  if (worker === undefined) throw new Error('no worker looks into the repository');
  return worker;
}
