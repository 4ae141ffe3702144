import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { describeTree, makeDataTree, run } from './harness/data-tree.ts';
import { eventually } from './harness/eventually.ts';
import { createTenant, listFiles, startSystem, type System } from './harness/system.ts';

const isRoot = process.getuid?.() === 0;
const mebibyte = 1024 * 1024;
const takeoverTimeoutMs = 150_000;

interface Summary {
  readonly [count: string]: number;
}

// What an operator does with a backup of files: look first, then take what is wanted, to where it is wanted.
describe('a recovery that is aimed', () => {
  let system: System;
  let place: string;
  let source: string;
  let backup: Row;

  beforeAll(async () => {
    place = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-aimed-')));
    source = join(place, 'data');
    await mkdir(source);
    await makeDataTree(source, [3_000_000, 40 * mebibyte, 40 * mebibyte, 40 * mebibyte]);
    if (isRoot) await chown(join(source, 'docs/note-5.txt'), 1234, 4321);
    const environment = { HOLDFAST_SOURCE_ROOTS: place, HOLDFAST_TARGET_ROOTS: place };
    system = await startSystem({ queue: 'postgresql', workerCount: 2, environment });
    const tenant = await createTenant(system, { name: 'aimed-recovery', sourcePath: source });
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    backup = await system.api.finished(`/jobs/${accepted.id}`);
  });
  afterAll(async () => {
    await system.stop();
    await rm(place, { recursive: true });
  });

  const recover = async (fields: Record<string, unknown>): Promise<Row> => {
    const accepted = await system.api.post('/recovery', { backupJobId: backup.id, recoveryType: 'full', ...fields });
    return await system.api.finished(`/recovery/${accepted.id}`, takeoverTimeoutMs);
  };
  const summaryOf = (row: Row): Summary => row.metadata['summary'] as Summary;

  /** All of a tree that a change would show in, the time of the last change among it. */
  const stateOf = async (folder: string): Promise<string[]> => {
    const names = ['', ...(await readdir(folder, { recursive: true }))].toSorted();
    const times = await Promise.all(names.map((name) => lstat(join(folder, name), { bigint: true })));
    return [
      ...(await describeTree(folder)),
      ...times.map(({ ino, uid, gid, ctimeNs }, nth) => `${names[nth]} ${ino} ${uid} ${gid} ${ctimeNs}`),
    ];
  };

  test('is tried first: what would be done is told and nothing is, then it is done, and a second time there is nothing to do', async () => {
    const target = join(place, 'tried');
    const fresh = await recover({ targetLocation: target, dryRun: true });
    expect(fresh).toMatchObject({
      status: 'completed',
      metadata: { dryRun: true, summary: { dryRun: true, replaced: 0, notPossibleCount: 0 } },
    });
    await expect(lstat(target)).rejects.toThrow('ENOENT');
    expect(await recover({ targetLocation: target })).toMatchObject({ status: 'completed' });

    const at = join(target, source);
    await writeFile(join(at, 'docs/note-7.txt'), 'another');
    await rm(join(at, 'random-0.bin'));
    await writeFile(join(at, 'docs/extra'), 'extra');
    const before = await stateOf(target);
    const how = { targetLocation: target, overwrite: 'if-changed', deletesExtra: true };
    const planned = summaryOf(await recover({ ...how, dryRun: true }));
    expect(await stateOf(target)).toEqual(before);
    expect(planned).toMatchObject({
      written: 1,
      replaced: 1,
      deleted: 1,
      deletedBytes: 5,
      failed: 0,
      plan: { deleted: { first: [{ path: join(source, 'docs/extra'), bytes: 5 }] }, written: { bytes: 3_000_000 } },
    });
    const done = await recover(how);
    const { written, replaced, kept, deleted, bytes } = planned;
    expect(summaryOf(done)).toMatchObject({ dryRun: false, written, replaced, kept, deleted, bytes });
    expect(await describeTree(at)).toEqual(await describeTree(source));
    expect(summaryOf(await recover(how))).toMatchObject({ written: 0, replaced: 0, deleted: 0, bytes: 0 });
    expect((await system.api.get<Record<string, unknown>>('/metrics/recovery'))['total']).toBe(3);
  });

  test('takes paths and globs without what is excluded, from and to where it is told, and lists what is not there', async () => {
    const target = join(place, 'part');
    const row = await recover({
      recoveryType: 'selective',
      targetLocation: target,
      paths: [join(source, 'docs/deep'), join(source, 'gone'), `${source}/docs/../script.sh`],
      globs: ['note-1*.txt'],
      excludes: ['note-11.txt'],
      stripPrefix: source,
      prefix: 'old/data',
    });
    expect(row).toMatchObject({ status: 'completed_with_warnings' });
    const notPossible = row.metadata['summary'] as { notPossible: { path: string; code: string }[] };
    expect(notPossible.notPossible.map(({ path, code }) => `${code} ${path}`).toSorted()).toEqual([
      `path_not_found ${source}/docs/../script.sh`,
      `path_not_found ${source}/gone`,
    ]);
    const expected = [
      ...['', 0, 2, 3, 4, 5, 6, 7, 8, 9].map((end) => `docs/note-1${end}.txt`),
      'docs/deep/er/naïve "quoted" \\ <&> name.txt',
    ];
    const files = (await listFiles(join(target, 'old/data'))).map((path) => path.slice(join(target, 'old/data/').length));
    expect(files.toSorted()).toEqual(expected.toSorted());
    const refused = await recover({ recoveryType: 'selective', targetLocation: join(place, 'none'), globs: ['*.nothing'] });
    expect(refused).toMatchObject({ status: 'failed', errorCode: 'path_not_found', attempt: 1 });
    await expect(lstat(join(place, 'none'))).rejects.toThrow('ENOENT');
  });

  test('to the original place brings back what is lost and changed, and keeps what is newer', async () => {
    const before = await describeTree(source);
    const original = await readFile(join(source, 'docs/note-8.txt'));
    await rm(join(source, 'docs/note-9.txt'));
    await writeFile(join(source, 'docs/note-8.txt'), 'newer');
    const kept = await recover({ toOriginal: true, overwrite: 'if-newer' });
    expect(kept).toMatchObject({ status: 'completed', targetLocation: '/', metadata: { summary: { written: 1, replaced: 0 } } });
    expect(await readFile(join(source, 'docs/note-8.txt'), 'utf8')).toBe('newer');
    const paths = [join(source, 'docs')];
    const replaced = await recover({ recoveryType: 'selective', paths, toOriginal: true, overwrite: 'if-changed', deletesExtra: true });
    expect(summaryOf(replaced)).toMatchObject({ written: 0, replaced: 1, deleted: 0 });
    expect(await readFile(join(source, 'docs/note-8.txt'))).toEqual(original);
    expect(await describeTree(source)).toEqual(before);
    const outside = await system.api.send('POST', '/recovery', {
      backupJobId: backup.id,
      recoveryType: 'selective',
      toOriginal: true,
      overwrite: 'always',
      paths: [`${source}/../../etc`],
    });
    expect(outside).toMatchObject({ status: 422, body: { code: 'path_outside_roots', errors: [{ field: 'paths.0' }] } });
  });

  test('that is killed in the middle leaves each file old or new, and ends with all of them new', async () => {
    const target = join(place, 'killed');
    await recover({ targetLocation: target });
    const at = join(target, source);
    const large = ['random-1.bin', 'random-2.bin', 'random-3.bin'];
    const old = Buffer.alloc(7 * mebibyte, 'old');
    for (const name of large) await writeFile(join(at, name), old);
    const accepted = await system.api.post('/recovery', {
      backupJobId: backup.id,
      recoveryType: 'full',
      targetLocation: target,
      overwrite: 'always',
    });
    const partials = async () => (await listFiles(at)).filter((path) => path.includes('.holdfast-partial-'));
    const victim = await eventually(
      'a worker in the middle of it',
      async () => ((await partials()).length > 0 ? await system.workerAtWork('recovery', accepted.id) : undefined),
      60_000,
    );
    await victim.end('SIGKILL');
    for (const name of large) {
      const now = await readFile(join(at, name));
      expect(now.equals(old) || now.equals(await readFile(join(source, name)))).toBe(true);
    }
    expect(await system.api.finished(`/recovery/${accepted.id}`, takeoverTimeoutMs)).toMatchObject({ status: 'completed', attempt: 2 });
    expect(await describeTree(at)).toEqual(await describeTree(source));
    expect(await partials()).toEqual([]);
  });

  test('whose target has something in the way lists that, and brings all else', async () => {
    const target = join(place, 'blocked');
    await mkdir(join(target, source, 'script.sh/mine'), { recursive: true });
    const dry = await recover({ targetLocation: target, overwrite: 'always', dryRun: true });
    const failure = { path: join(source, 'script.sh'), code: 'target_not_empty' };
    expect(dry).toMatchObject({ status: 'completed_with_warnings', metadata: { summary: { failed: 1, notPossible: [failure] } } });
    const row = await recover({ targetLocation: target, overwrite: 'always' });
    expect(row).toMatchObject({
      status: 'failed',
      errorCode: 'target_not_empty',
      metadata: { summary: { failed: 1, notPossible: [failure] } },
    });
    expect(await readdir(join(target, source, 'script.sh'))).toEqual(['mine']);
    expect(await readFile(join(target, source, 'random-0.bin'))).toEqual(await readFile(join(source, 'random-0.bin')));
  });

  test.runIf(isRoot)('maps owners by number and name', async () => {
    const target = join(place, 'owned');
    const how = { recoveryType: 'selective', globs: ['note-5.txt'], stripPrefix: join(source, 'docs'), overwrite: 'always' };
    const file = join(target, 'note-5.txt');
    const owners = async (given: unknown) => {
      expect(await recover({ ...how, targetLocation: target, owners: given })).toMatchObject({ status: 'completed' });
      const { uid, gid } = await stat(file);
      return [uid, gid];
    };
    expect(await owners('keep')).toEqual([1234, 4321]);
    expect(await owners('none')).toEqual([0, 0]);
    expect(await owners({ users: { '1234': 77 }, groups: { '4321': 'root' } })).toEqual([77, 0]);
    const unknown = await recover({ ...how, targetLocation: target, owners: { users: { '1234': 'nobody-of-this-name' } } });
    expect(unknown).toMatchObject({ status: 'failed', errorCode: 'request_invalid', attempt: 1 });
  });

  test.runIf(isRoot)('says beforehand that a disk is too small, and loses nothing that is on it', async () => {
    const disk = join(place, 'tiny');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${30 * mebibyte}`, 'tmpfs', disk]);
    try {
      const at = join(disk, source);
      await mkdir(at, { recursive: true });
      const old = Buffer.alloc(mebibyte, 'old');
      await writeFile(join(at, 'random-1.bin'), old);
      await utimes(join(at, 'random-1.bin'), 5, 5);
      await chmod(at, 0o755);
      const dry = await recover({ targetLocation: disk, overwrite: 'always', dryRun: true });
      expect(dry).toMatchObject({
        status: 'completed_with_warnings',
        metadata: { summary: { notPossible: [{ code: 'disk_full', path: at }] } },
      });
      const only = { recoveryType: 'selective', paths: [join(source, 'random-1.bin')], targetLocation: disk, overwrite: 'always' };
      const accepted = await system.api.post('/recovery', { backupJobId: backup.id, ...only });
      const seen = await eventually(
        'a full disk',
        async () => {
          const row = await system.api.get(`/recovery/${accepted.id}`);
          return row.errorCode === null ? undefined : row;
        },
        takeoverTimeoutMs,
      );
      expect(seen).toMatchObject({ errorCode: 'disk_full' });
      expect(await readFile(join(at, 'random-1.bin'))).toEqual(old);
      await system.api.send('POST', `/recovery/${accepted.id}/cancel`, {});
      await system.api.finished(`/recovery/${accepted.id}`, takeoverTimeoutMs);
      expect(await readdir(at)).toEqual(['random-1.bin']);
    } finally {
      await run('umount', ['-l', disk]);
    }
  });
});
