import { chmod, link, lstat, mkdir, mkdtemp, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DiffAnswer, FolderAnswer, HistoryAnswer } from '@holdfast/jobs/browse/browse-answers';
import { askWorker, bytesOf, type BrowseQuery } from '../testing/browse-client.ts';
import { repositoryPassword } from '@holdfast/database/repositories';
import { forgeSnapshot } from '@holdfast/engine/testing/forged-snapshot';
import { openTestRepository } from '@holdfast/engine/testing/test-repository';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';
import type { RunningWorker } from '../start-workers.ts';

// A real worker, a real repository, real requests: what the API asks, and what it is answered.

const run = promisify(execFile);
let fixture: WorkerFixture;
let worker: RunningWorker;
let source: string;
let repositoryId: string;
let configId: string;
let first: Backup;
let second: Backup;

interface Backup {
  readonly jobId: string;
  readonly snapshotId: string;
}

const big = Buffer.alloc(3_000_000);
const rawName = Buffer.concat([Buffer.from('caf'), Buffer.of(0xe9), Buffer.from('.txt')]);
const longName = 'n'.repeat(255);

beforeAll(async () => {
  for (let at = 0; at < big.length; at += 4) big.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
  fixture = await openWorkerFixture('postgresql');
  source = join(fixture.folder, 'source');
  await mkdir(join(source, 'docs/deep'), { recursive: true });
  await writeFile(join(source, 'docs/plan.txt'), 'the plan');
  await writeFile(join(source, 'docs/deep/plan.txt'), 'a deeper plan');
  await writeFile(join(source, 'docs/empty'), '');
  await writeFile(join(source, 'big.bin'), big);
  await writeFile(join(source, longName), 'long');
  await writeFile(join(source, String.raw`back\slash`), 'b');
  await writeFile(Buffer.concat([Buffer.from(`${source}/`), rawName]), 'raw');
  await symlink('docs/plan.txt', join(source, 'link'));
  await link(join(source, 'big.bin'), join(source, 'docs/same.bin'));
  await chmod(join(source, 'docs/plan.txt'), 0o640);
  worker = await fixture.startWorker();
  configId = await fixture.createConfig();
  first = await backUp();
  await writeFile(join(source, 'docs/plan.txt'), 'the second plan');
  await writeFile(join(source, 'docs/new.txt'), 'new');
  await rename(join(source, 'docs/empty'), join(source, 'docs/moved'));
  second = await backUp();
}, 120_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function backUp(): Promise<Backup> {
  const jobId = await fixture.submitBackup(configId);
  const { status } = await fixture.eventually('backup', jobId, isFinal);
  expect(status).toBe('completed');
  const row = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id: jobId } });
  repositoryId = row.repositoryId;
  return { jobId, snapshotId: row.snapshotId ?? '' };
}

const ask = (path: string, query: BrowseQuery, method: 'GET' | 'HEAD' = 'GET') =>
  askWorker(fixture, worker, path, { repositoryId, ...query }, method);

async function json<T>(path: string, query: Record<string, string>): Promise<T> {
  return JSON.parse((await bytesOf(await ask(path, { limit: '100', ...query }))).toString()) as T;
}

const content = (path: string, more: Record<string, string> = {}, method: 'GET' | 'HEAD' = 'GET') =>
  ask('/content', { snapshotId: first.snapshotId, path: `${source}${path}`, ...more }, method);

test('a folder is listed page by page, with names that are no UTF-8, long or full of backslashes', async () => {
  const names: string[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const more: Record<string, string> = cursor === '' ? {} : { cursor };
    const page: FolderAnswer = await json('/folder', { snapshotId: first.snapshotId, path: source, limit: '2', ...more });
    expect(page.totalCount).toBe(6);
    expect(page.items.length).toBeLessThanOrEqual(2);
    names.push(...page.items.map(({ name }) => name));
    cursor = page.nextCursor;
  }
  expect(names).toEqual([String.raw`back\\slash`, 'big.bin', String.raw`caf\xe9.txt`, 'docs', 'link', longName]);
  const { items } = await json<FolderAnswer>('/folder', { snapshotId: first.snapshotId, path: source });
  for (const { path, type } of items.filter((item) => item.type === 'file')) {
    const answer = await ask('/content', { snapshotId: first.snapshotId, path });
    expect([path, type, answer.statusCode]).toEqual([path, 'file', 200]);
    answer.resume();
  }
});

test('an entry tells what stat told', async () => {
  const { items } = await json<FolderAnswer>('/folder', { snapshotId: first.snapshotId, path: `${source}/docs` });
  const plan = items.find(({ name }) => name === 'plan.txt');
  expect(plan).toMatchObject({ type: 'file', sizeBytes: 8, mode: '0640', uid: process.getuid?.(), isUnsafe: false });
  const { mtimeNs } = await lstat(join(source, 'docs/deep/plan.txt'), { bigint: true });
  const deep = await json<FolderAnswer>('/folder', { snapshotId: first.snapshotId, path: `${source}/docs/deep` });
  expect(deep.items[0]?.modified).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/u);
  expect(Date.parse(deep.items[0]?.modified ?? '')).toBe(Number(mtimeNs / 1_000_000n));
  const top = await json<FolderAnswer>('/folder', { snapshotId: first.snapshotId, path: source });
  expect(top.items.find(({ name }) => name === 'link')).toMatchObject({ type: 'symlink', linkTarget: 'docs/plan.txt' });
});

test('one snapshot is searched by name and by pattern, below a path', async () => {
  const search = async (query: Record<string, string>) =>
    (await json<FolderAnswer>('/search', { snapshotId: first.snapshotId, ...query })).items.map(({ path }) => path.slice(source.length));
  expect(await search({ name: 'plan.txt' })).toEqual(['/docs/deep/plan.txt', '/docs/plan.txt']);
  expect(await search({ name: 'PLAN.TXT' })).toEqual([]);
  expect(await search({ name: 'PLAN.TXT', ignoreCase: 'true' })).toHaveLength(2);
  expect(await search({ name: 'plan.txt', path: `${source}/docs/deep` })).toEqual(['/docs/deep/plan.txt']);
  expect(await search({ glob: '*.bin' })).toEqual(['/big.bin', '/docs/same.bin']);
  expect(await search({ glob: 'd*', type: 'dir' })).toEqual(['/docs', '/docs/deep']);
  // A name is no pattern.
  expect(await search({ name: '*.bin' })).toEqual([]);
  expect(await search({ name: String.raw`back\\slash` })).toEqual([String.raw`/back\\slash`]);
  expect(await search({ name: String.raw`caf\xe9.txt` })).toEqual([String.raw`/caf\xe9.txt`]);
});

test('versions of a file are found over time, with the backups that have them', async () => {
  const found = await json<HistoryAnswer>('/history', { backupConfigId: configId, name: 'plan.txt', path: `${source}/docs` });
  expect(found).toMatchObject({ backupCount: 2, missing: [], nextCursor: null });
  const [deep, plan] = found.items;
  expect(deep?.versions).toMatchObject([
    { sizeBytes: 13, backupCount: 2, first: { backupJobId: first.jobId }, last: { backupJobId: second.jobId } },
  ]);
  expect(plan?.versions).toMatchObject([
    { sizeBytes: 8, backupCount: 1, first: { backupJobId: first.jobId }, last: { backupJobId: first.jobId } },
    { sizeBytes: 15, backupCount: 1, first: { backupJobId: second.jobId } },
  ]);
  const later = await json<HistoryAnswer>('/history', { name: 'plan.txt', from: plan?.versions[1]?.first.time ?? '' });
  expect(later.backupCount).toBe(1);
});

test('two backups are compared, with sizes and totals', async () => {
  const { items, totals } = await json<DiffAnswer>('/diff', {
    snapshotId: first.snapshotId,
    otherSnapshotId: second.snapshotId,
    path: `${source}/docs`,
  });
  const changes = items.map(({ path, change, before, after }) => [path.slice(source.length), change, before?.sizeBytes, after?.sizeBytes]);
  expect(changes).toEqual([
    ['/docs/empty', 'removed', 0, undefined],
    ['/docs/moved', 'added', undefined, 0],
    ['/docs/new.txt', 'added', undefined, 3],
    ['/docs/plan.txt', 'modified', 8, 15],
  ]);
  expect(totals).toMatchObject({ added: 2, removed: 1, modified: 1, bytesBefore: 8, bytesAfter: 18 });
});

test('a file is read whole, in ranges, and not at all when it is known', async () => {
  const whole = await content('/big.bin');
  expect(whole.headers).toMatchObject({
    'content-length': String(big.length),
    'accept-ranges': 'bytes',
    etag: expect.stringMatching(/^"[0-9a-f]{32}"$/u),
  });
  expect(sha256(await bytesOf(whole))).toBe(sha256(big));
  const etag = String(whole.headers.etag);
  // Of the same content, wherever it is.
  expect((await content('/docs/same.bin', {}, 'HEAD')).headers.etag).toBe(etag);

  for (const [range, from, to] of [
    ['bytes=0-0', 0, 1],
    ['bytes=1000000-2000000', 1_000_000, 2_000_001],
    ['bytes=2999999-', 2_999_999, 3_000_000],
    ['bytes=-5', 2_999_995, 3_000_000],
  ] as const) {
    const part = await content('/big.bin', { range, ifRange: etag });
    expect([part.statusCode, part.headers['content-range']], range).toEqual([206, `bytes ${from}-${to - 1}/3000000`]);
    expect((await bytesOf(part)).equals(big.subarray(from, to)), range).toBe(true);
  }
  const other = await content('/big.bin', { range: 'bytes=0-0', ifRange: '"another"' });
  expect([other.statusCode, (await bytesOf(other)).length]).toEqual([200, big.length]);
  expect((await content('/big.bin', { ifNoneMatch: `W/"x", ${etag}` })).statusCode).toBe(304);
  const head = await content('/big.bin', {}, 'HEAD');
  expect([head.statusCode, head.headers['content-length'], (await bytesOf(head)).length]).toEqual([200, String(big.length), 0]);
  expect(JSON.parse(String(await bytesOf(await content('/big.bin', { range: 'bytes=3000000-' }))))).toMatchObject({
    code: 'range_not_satisfiable',
    context: { sizeBytes: big.length },
  });
  expect((await bytesOf(await content('/docs/empty'))).length).toBe(0);
});

test('what is no file, not there, or not given as it should be is refused by name', async () => {
  const refusal = async (path: string, query: Record<string, string>) =>
    JSON.parse(String(await bytesOf(await ask(path, query)))) as { code: string; message: string; context: object };
  const { snapshotId } = first;
  expect(await refusal('/content', { snapshotId, path: `${source}/docs` })).toMatchObject({
    code: 'request_invalid',
    message: expect.stringContaining('is a folder'),
    context: { field: 'path' },
  });
  expect(await refusal('/content', { snapshotId, path: `${source}/link` })).toMatchObject({ code: 'request_invalid' });
  expect(await refusal('/content', { snapshotId, path: `${source}/none` })).toMatchObject({ code: 'path_not_found' });
  expect(await refusal('/content', { snapshotId, path: `${source}/docs/../big.bin` })).toMatchObject({ code: 'request_invalid' });
  expect(await refusal('/folder', { snapshotId, path: `${source}/big.bin`, limit: '1' })).toMatchObject({ code: 'path_not_found' });
  expect(await refusal('/folder', { snapshotId: 'ab'.repeat(32), path: '/', limit: '1' })).toMatchObject({ code: 'snapshot_missing' });
  expect(await refusal('/folder', { snapshotId, repositoryId: 'nothing', path: '/', limit: '1' })).toMatchObject({ code: 'not_found' });
  expect(await refusal('/folder', { snapshotId, path: '/', limit: '1', cursor: 'x' })).toMatchObject({ context: { field: 'cursor' } });
  expect(await refusal('/archive', { snapshotId, paths: `${source}/none`, format: 'tar' })).toMatchObject({ code: 'path_not_found' });
});

test('an archive has modes, links and hard links, and tells what it has under another name', async () => {
  const target = await mkdtemp(join(fixture.folder, 'unpacked-'));
  const answer = await ask('/archive', { snapshotId: first.snapshotId, paths: [`${source}/docs`, source], format: 'tar' });
  await writeFile(join(target, 'a.tar'), await bytesOf(answer));
  await run('tar', ['-xpf', 'a.tar'], { cwd: target });
  const at = join(target, source.slice(1));
  expect(await readFile(join(at, 'docs/plan.txt'), 'utf8')).toBe('the plan');
  expect((await lstat(join(at, 'docs/plan.txt'))).mode & 0o7777).toBe(0o640);
  expect((await readFile(join(at, 'big.bin'))).equals(big)).toBe(true);
  expect((await lstat(join(at, 'docs/same.bin'))).ino).toBe((await lstat(join(at, 'big.bin'))).ino);
  expect((await lstat(join(at, 'link'))).isSymbolicLink()).toBe(true);
  expect(await readFile(join(at, 'caf%E9.txt'), 'utf8')).toBe('raw');
  expect(await readFile(join(at, String.raw`back\slash`), 'utf8')).toBe('b');
  expect(await readFile(join(target, 'HOLDFAST-LEFT-OUT.txt'), 'utf8')).toContain(String.raw`caf\xe9.txt: it is in the archive as`);

  const zip = await ask('/archive', { snapshotId: first.snapshotId, paths: source, format: 'zip' });
  await writeFile(join(target, 'a.zip'), await bytesOf(zip));
  const { stdout } = await run('python3', [
    '-c',
    'import sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); print(z.testzip(), *z.namelist(), sep="\\n")',
    join(target, 'a.zip'),
  ]);
  expect(stdout.split('\n')).toEqual(expect.arrayContaining(['None', `${source.slice(1)}/back%5Cslash`, 'HOLDFAST-LEFT-OUT.txt']));
});

test('names that would lead elsewhere, in a snapshot that somebody else made, are shown, cannot be read, and get into no archive', async () => {
  const password = await repositoryPassword(fixture.database.db.client, repositoryId, fixture.config.masterKey);
  const storage = await openLocalStorage({ path: join(fixture.folder, 'storage/repository') });
  await using repository = await openTestRepository(storage, password);
  const snapshotId = await forgeSnapshot(repository, [
    { name: '../../evil', below: 'leads out' },
    { name: '..', below: [{ name: 'passwd', below: 'root' }] },
    { name: '/etc', below: [{ name: 'cron', below: 'root' }] },
    { name: 'plain', below: 'plain' },
    { name: 'twice', below: 'one' },
    { name: 'twice', below: 'two' },
  ]);
  const { items } = await json<FolderAnswer>('/folder', { snapshotId, path: '/' });
  expect(items.map(({ isUnsafe }) => isUnsafe).filter(Boolean).length).toBeGreaterThanOrEqual(4);
  for (const { path } of items.filter(({ isUnsafe }) => isUnsafe)) {
    expect((await ask('/content', { snapshotId, path })).statusCode, path).toBe(400);
  }
  for (const format of ['tar', 'zip']) {
    const target = await mkdtemp(join(fixture.folder, 'slip-'));
    const archive = join(target, `a.${format}`);
    await writeFile(archive, await bytesOf(await ask('/archive', { snapshotId, paths: '/', format })));
    // Not tar and unzip, which would refuse such names by themselves: a program that puts files where their names say.
    const list = `import sys, tarfile, zipfile
name = sys.argv[1]
print(*(tarfile.open(name).getnames() if name.endswith('tar') else zipfile.ZipFile(name).namelist()), sep='\\n')`;
    const { stdout } = await run('python3', ['-c', list, archive]);
    expect(
      stdout
        .trim()
        .split('\n')
        .filter((name) => !name.startsWith('twice'))
        .toSorted(),
    ).toEqual(['HOLDFAST-LEFT-OUT.txt', 'plain']);
    expect(stdout.match(/^twice$/gmu)?.length ?? 0).toBeLessThanOrEqual(1);
  }
});

test('the row says where it answers, until the worker stops', async () => {
  const rows = await fixture.database.db.client.workerProcess.findMany();
  expect(rows.map(({ browseUrl }) => browseUrl)).toEqual([worker.browseUrl]);
});

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
