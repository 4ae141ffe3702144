import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Repository } from './repository.ts';
import { restore, type RestoreOptions, type RestoreResult } from './restorer.ts';
import type { MemoryEntry, MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const dir = (entries: MemoryFolder): MemoryEntry => ({ type: 'dir', entries });
const tree: MemoryFolder = {
  home: dir({
    ann: dir({ docs: dir({ 'a.txt': text('a'), 'a.log': text('log') }), 'notes.txt': text('notes') }),
    bob: dir({ docs: dir({ 'b.txt': text('b') }), pictures: dir({ 'big.raw': { type: 'file', bytes: noise(3_000_000, 1) } }) }),
  }),
  readme: text('read me'),
};

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(`${tmpdir()}/holdfast-aimed-`));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

interface Place {
  readonly repository: Repository;
  readonly snapshotId: string;
  readonly path: string;
}

async function prepare(of: MemoryFolder = tree): Promise<Place> {
  const repository = await createTestRepository();
  const { snapshotId } = await archiveTree(repository, of);
  return { repository, snapshotId, path: await scratch() };
}

async function restoreTo({ repository, snapshotId, path }: Place, options: Partial<RestoreOptions> = {}): Promise<RestoreResult> {
  const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
  return await restore({ repository, snapshotId, target, clock, pool, listsRefused: true, ...options });
}

async function pathsIn(path: string): Promise<string[]> {
  return (await readdir(path, { recursive: true })).toSorted();
}

/** Everything that a change would show in, but for the time of the last look. */
async function stateOf(path: string): Promise<string[]> {
  const states: string[] = [];
  for (const name of ['.', ...(await pathsIn(path))]) {
    const found = await lstat(`${path}/${name}`, { bigint: true });
    const content = found.isFile() ? (await readFile(`${path}/${name}`)).toString('base64') : '';
    states.push(`${name} ${found.ino} ${found.mode} ${found.uid} ${found.gid} ${found.mtimeNs} ${found.ctimeNs} ${content}`);
  }
  return states;
}

const hasCode = (code: Parameters<typeof isHoldfastError>[1]) => (error: unknown) => isHoldfastError(error, code);

describe('what is selected', () => {
  it.each<[string, NonNullable<RestoreOptions['select']>, string[]]>([
    [
      'globs',
      { globs: ['*.txt'] },
      [
        'home',
        'home/ann',
        'home/ann/docs',
        'home/ann/docs/a.txt',
        'home/ann/notes.txt',
        'home/bob',
        'home/bob/docs',
        'home/bob/docs/b.txt',
      ],
    ],
    [
      'a glob of the whole path',
      { globs: ['/home/*/docs'] },
      [
        'home',
        'home/ann',
        'home/ann/docs',
        'home/ann/docs/a.log',
        'home/ann/docs/a.txt',
        'home/bob',
        'home/bob/docs',
        'home/bob/docs/b.txt',
      ],
    ],
    ['a path and a glob', { paths: ['/readme'], globs: ['*.log'] }, ['home', 'home/ann', 'home/ann/docs', 'home/ann/docs/a.log', 'readme']],
    [
      'a path without what is excluded',
      { paths: ['/home/ann'], excludes: ['*.log', 'notes.*'] },
      ['home', 'home/ann', 'home/ann/docs', 'home/ann/docs/a.txt'],
    ],
    ['all but what is excluded', { excludes: ['/home/bob', 'docs'] }, ['home', 'home/ann', 'home/ann/notes.txt', 'readme']],
  ])('by %s comes with the folders above, and no others', async (_name, select, expected) => {
    const place = await prepare();
    expect(await restoreTo(place, { select })).toMatchObject({ failed: [], notPossible: [] });
    expect(await pathsIn(place.path)).toEqual(expected);
  });

  it('and is not there is listed, and refused when that is all', async () => {
    const place = await prepare();
    const result = await restoreTo(place, { select: { paths: ['/readme', '/home/ann/../../etc', '/gone'] } });
    const reason = 'is not in the snapshot';
    expect(result.notPossible).toEqual([
      { path: '/home/ann/../../etc', code: 'path_not_found', reason },
      { path: '/gone', code: 'path_not_found', reason },
    ]);
    expect(await pathsIn(place.path)).toEqual(['readme']);
    const empty = { ...place, path: `${place.path}/new` };
    for (const select of [{ paths: ['/home/ann/../../etc'] }, { globs: ['*.nothing'] }, { paths: ['/readme'], excludes: ['read*'] }]) {
      const target = openFileSystemTarget({ path: empty.path, roots: [place.path], overwrite: true });
      const running = restore({ ...empty, target, clock, select });
      await expect(running).rejects.toSatisfy(hasCode('path_not_found'));
    }
    expect(await pathsIn(place.path)).toEqual(['readme']);
  });
});

describe('where it goes', () => {
  it('is without a prefix of the paths, and below one of the target', async () => {
    const place = await prepare();
    await restoreTo(place, { layout: { stripPrefix: '/home/ann/', prefix: 'old/ann' } });
    expect(await pathsIn(place.path)).toEqual([
      'old',
      'old/ann',
      'old/ann/docs',
      'old/ann/docs/a.log',
      'old/ann/docs/a.txt',
      'old/ann/notes.txt',
    ]);
    const missing = restoreTo(place, { layout: { stripPrefix: '/home/eve' } });
    await expect(missing).rejects.toSatisfy(hasCode('path_not_found'));
  });

  it('is without so many names, and what has no more is listed', async () => {
    const place = await prepare();
    const result = await restoreTo(place, { layout: { stripComponents: 2 }, select: { excludes: ['/home/bob/docs'] } });
    expect(await pathsIn(place.path)).toEqual(['docs', 'docs/a.log', 'docs/a.txt', 'notes.txt', 'pictures', 'pictures/big.raw']);
    expect(result.notPossible).toEqual([expect.objectContaining({ path: '/readme', code: 'request_invalid' })]);
    expect(await readFile(`${place.path}/pictures/big.raw`)).toEqual(Buffer.from(noise(3_000_000, 1)));
  });

  it('is refused when two would come to one place, before anything is written', async () => {
    const place = await prepare();
    await expect(restoreTo(place, { layout: { stripComponents: 2 } })).rejects.toSatisfy(hasCode('request_invalid'));
    expect(await pathsIn(place.path)).toEqual([]);
    // Neither folder of that name but one holds anything of the selection.
    await restoreTo(place, { layout: { stripComponents: 2 }, select: { globs: ['b.txt'] } });
    expect(await pathsIn(place.path)).toEqual(['docs', 'docs/b.txt']);
  });

  it.each(['..', 'a/../../b', './a', 'a\0'])('is never outside the target, such as by the prefix %j', async (prefix) => {
    const place = await prepare();
    await expect(restoreTo(place, { layout: { prefix } })).rejects.toSatisfy(hasCode('request_invalid'));
  });

  it('leaves folders on the way as they are, and gives those that it makes their own look', async () => {
    const place = await prepare();
    await mkdir(`${place.path}/home`, { mode: 0o711 });
    const select = { paths: ['/home/ann/docs'] };
    await restoreTo(place, { select });
    expect((await lstat(`${place.path}/home`)).mode & 0o777).toBe(0o711);
    const { mode, mtimeNs } = await lstat(`${place.path}/home/ann`, { bigint: true });
    expect([Number(mode) & 0o777, mtimeNs / 1000n]).toEqual([0o644, 1_700_000_000_123_456n]);
  });
});

describe('what is there already', () => {
  it('is spared by an exclude, with the folders above, when what is too much goes', async () => {
    const place = await prepare();
    await restoreTo(place);
    for (const folder of ['home/eve/docs', 'home/ann/old']) await mkdir(`${place.path}/${folder}`, { recursive: true });
    for (const name of ['home/eve/docs/e.log', 'home/eve/e.txt', 'home/ann/old/x']) await writeFile(`${place.path}/${name}`, name);
    const options = { select: { excludes: ['*.log'] }, deletesExtra: true };
    const plan = (await restoreTo(place, { ...options, isDryRun: true })).plan;
    expect(plan?.deleted.first.map(({ path }) => path).toSorted()).toEqual(['/home/ann/old', '/home/ann/old/x', '/home/eve/e.txt']);
    expect(await restoreTo(place, options)).toMatchObject({ removedCount: 3, removedBytes: 28 });
    expect(await pathsIn(`${place.path}/home`)).not.toContain('ann/old');
    expect(await pathsIn(`${place.path}/home/eve`)).toEqual(['docs', 'docs/e.log']);
    expect(await readFile(`${place.path}/home/ann/docs/a.log`, 'utf8')).toBe('log');
  });

  it('and refuses is listed, and the others come', async () => {
    const place = await prepare();
    await mkdir(`${place.path}/readme/mine`, { recursive: true });
    await mkdir(`${place.path}/home/bob/pictures/big.raw`, { recursive: true });
    const result = await restoreTo(place);
    expect(result.failed.map(({ path, code }) => `${path} ${code}`).toSorted()).toEqual([
      '/home/bob/pictures/big.raw target_not_empty',
      '/readme target_not_empty',
    ]);
    expect(result).toMatchObject({ filesRestored: 4, failedCount: 2, notPossibleCount: 2 });
    expect(await pathsIn(`${place.path}/readme`)).toEqual(['mine']);
    await expect(restoreTo(place, { listsRefused: false })).rejects.toSatisfy(hasCode('target_not_empty'));
  });

  it('stays by never and if-newer though a folder would have to take its place', async () => {
    for (const overwrite of ['never', 'if-newer'] as const) {
      const place = await prepare();
      await writeFile(`${place.path}/home`, 'mine');
      const result = await restoreTo(place, { overwrite });
      expect(await readFile(`${place.path}/home`, 'utf8')).toBe('mine');
      expect(result).toMatchObject({ filesRestored: 1, failedCount: 11 });
      expect(await restoreTo(place, { overwrite: 'always' })).toMatchObject({ failedCount: 0, replacedCount: 1, removedCount: 1 });
      expect(await readFile(`${place.path}/home/bob/docs/b.txt`, 'utf8')).toBe('b');
    }
  });

  it('is written again by nothing when it is the same', async () => {
    const place = await prepare();
    await restoreTo(place);
    const before = (await pathsIn(place.path)).length;
    const again = await restoreTo(place, { overwrite: 'if-changed' });
    expect(again).toMatchObject({ filesRestored: 0, bytesRestored: 0, replacedCount: 0, keptCount: 6, notPossibleCount: 0 });
    expect((await pathsIn(place.path)).length).toBe(before);
  });
});

describe('a dry run', () => {
  it('tells what would be done, and does nothing', async () => {
    const place = await prepare();
    await restoreTo(place);
    await writeFile(`${place.path}/readme`, 'other');
    await rm(`${place.path}/home/bob`, { recursive: true });
    await symlink('/etc', `${place.path}/home/bob`);
    await writeFile(`${place.path}/home/ann/extra`, 'extra');
    const before = await stateOf(place.path);
    const options = { overwrite: 'if-changed', deletesExtra: true } as const;
    const { plan, ...dry } = await restoreTo(place, { ...options, isDryRun: true });
    expect(await stateOf(place.path)).toEqual(before);
    expect(await Array.fromAsync(place.repository.storage.list('locks/'))).toEqual([]);
    expect(plan).toMatchObject({
      written: {
        count: 2,
        bytes: 3_000_001,
        first: [
          { path: '/home/bob/docs/b.txt', bytes: 1 },
          { path: '/home/bob/pictures/big.raw', bytes: 3_000_000 },
        ],
      },
      replaced: { count: 1, bytes: 7 },
      kept: { count: 3, bytes: 9 },
      deleted: {
        count: 2,
        bytes: 5,
        first: [
          { path: '/home/ann/extra', bytes: 5 },
          { path: '/home/bob', bytes: 0 },
        ],
      },
      foldersWritten: 3,
    });
    const done = await restoreTo(place, options);
    const { filesRestored, keptCount, removedCount, removedBytes, bytesRestored, failedCount } = dry;
    expect(done).toMatchObject({ filesRestored, keptCount, removedCount, removedBytes, bytesRestored, failedCount, replacedCount: 1 });
  });

  it('is refused where the recovery would be', async () => {
    const place = await prepare();
    await writeFile(`${place.path}/mine`, 'mine');
    const target = openFileSystemTarget({ path: place.path, roots: [place.path], overwrite: false });
    await expect(restore({ ...place, target, clock, isDryRun: true })).rejects.toSatisfy(hasCode('target_not_empty'));
  });

  it('lists what is in the way', async () => {
    const place = await prepare();
    await mkdir(`${place.path}/readme`);
    const { plan, failed } = await restoreTo(place, { isDryRun: true });
    expect(failed).toEqual([expect.objectContaining({ path: '/readme', code: 'target_not_empty' })]);
    expect(plan?.written.count).toBe(5);
  });
});

describe.runIf(process.geteuid?.() === 0)('owners', () => {
  const ownersOf = async (path: string): Promise<number[]> => {
    const { uid, gid } = await lstat(path);
    return [uid, gid];
  };
  const owned = async (): Promise<Place> => {
    const repository = await createTestRepository();
    const source = await scratch();
    await mkdir(`${source}/in`);
    await writeFile(`${source}/in/file`, 'x', { mode: 0o755 });
    await chown(`${source}/in/file`, 1234, 4321);
    await chown(`${source}/in`, 1234, 4321);
    await chmod(`${source}/in/file`, 0o6755);
    const from = await openFileSystemSource({ paths: [`${source}/in`], roots: [source] });
    const { snapshotId } = await archiveTree(repository, {}, { source: from });
    await from.close();
    return { repository, snapshotId, path: await scratch() };
  };
  it('are kept, left to the process, or become others, and then nobody’s set-user-id is inherited', async () => {
    const place = await owned();
    const cases = [
      ['keep', [1234, 4321], 0o6755],
      ['none', [0, 0], 0o755],
      [{ users: new Map([['1234', 7]]), groups: new Map<string, number>() }, [7, 4321], 0o2755],
      [{ users: new Map<string, number>(), groups: new Map([['4321', 8]]) }, [1234, 8], 0o4755],
    ] as const;
    for (const [owners, expected, mode] of cases) {
      const path = await scratch();
      await restoreTo({ ...place, path }, { owners, layout: { stripComponents: 2 } });
      expect(await ownersOf(`${path}/in`)).toEqual(expected);
      expect(await ownersOf(`${path}/in/file`)).toEqual(expected);
      expect((await lstat(`${path}/in/file`)).mode & 0o7777).toBe(mode);
    }
  });
});

describe('a file that is replaced', () => {
  it('is the old one until the new one is whole', async () => {
    const place = await prepare();
    await restoreTo(place);
    const big = `${place.path}/home/bob/pictures/big.raw`;
    await writeFile(big, Buffer.alloc(2_000_000));
    const abort = new AbortController();
    const running = restoreTo(place, {
      signal: abort.signal,
      onProgress: (value) => {
        if (value.phase === 'restoring' && value.bytesDone > 0) abort.abort(new Error('enough'));
      },
    });
    await running.catch((error: unknown) => expect(error).toMatchObject({ message: 'enough' }));
    const now = await readFile(big);
    expect([Buffer.alloc(2_000_000), Buffer.from(noise(3_000_000, 1))].some((one) => one.equals(now))).toBe(true);
    expect((await pathsIn(place.path)).filter((name) => name.includes('.holdfast-partial-'))).toEqual([]);
  });
});
