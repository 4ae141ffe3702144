import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import type { OverwritePolicy } from './overwrite-policy.ts';
import type { Repository } from './repository.ts';
import { restore, type RestoreOptions, type RestoreResult } from './restorer.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { openMemoryTarget } from './testing/memory-target.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const big = noise(3_000_000, 1);
const tree: MemoryFolder = {
  data: {
    type: 'dir',
    entries: {
      a: text('aaa'),
      big: { type: 'file', bytes: big },
      empty: text(''),
      link: { type: 'symlink', linkTarget: 'a' },
      sub: { type: 'dir', entries: { b: text('bbb') } },
    },
  },
};

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(`${tmpdir()}/holdfast-options-`));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

async function prepare(): Promise<{ repository: Repository; snapshotId: string; path: string }> {
  const repository = await createTestRepository();
  const { snapshotId } = await archiveTree(repository, tree);
  return { repository, snapshotId, path: await scratch() };
}

interface Place {
  readonly repository: Repository;
  readonly snapshotId: string;
  readonly path: string;
}

async function restoreTo({ repository, snapshotId, path }: Place, options: Partial<RestoreOptions>): Promise<RestoreResult> {
  const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
  return await restore({ repository, snapshotId, target, clock, pool, ...options });
}

/** The first bytes of each file, and where links lead. */
async function contentsOf(path: string): Promise<Record<string, string>> {
  const contents: Record<string, string> = {};
  for (const name of (await readdir(path, { recursive: true })).toSorted()) {
    const found = await lstat(`${path}/${name}`);
    if (found.isFile()) contents[name] = (await readFile(`${path}/${name}`)).subarray(0, 3).toString('latin1');
  }
  return contents;
}

/** Another a, an older b, and a big that is as it should be. */
async function disturb(path: string): Promise<void> {
  await writeFile(`${path}/data/a`, 'xyz');
  await writeFile(`${path}/data/sub/b`, 'old');
  await utimes(`${path}/data/sub/b`, 5, 5);
  await rm(`${path}/data/link`);
  await symlink('elsewhere', `${path}/data/link`);
}

it('restores what is in a folder of the snapshot, or a part of it, without the way to it', async () => {
  const place = await prepare();
  await restoreTo(place, { folder: '/data', select: { paths: ['/sub', '/a'] } });
  expect(await contentsOf(place.path)).toEqual({ a: 'aaa', 'sub/b': 'bbb' });
  await expect(restoreTo(place, { folder: '/data/a' })).rejects.toMatchObject({ code: 'path_not_found' });
});

describe('what is there already', () => {
  const begins = big.subarray(0, 3);
  const cases: [OverwritePolicy | undefined, { a: string; b: string; kept: number; restored: number }][] = [
    [undefined, { a: 'aaa', b: 'bbb', kept: 0, restored: 4 }],
    ['always', { a: 'aaa', b: 'bbb', kept: 0, restored: 4 }],
    ['if-changed', { a: 'aaa', b: 'bbb', kept: 2, restored: 2 }],
    // The link is of now, and so is a.
    ['if-newer', { a: 'xyz', b: 'bbb', kept: 4, restored: 1 }],
    ['never', { a: 'xyz', b: 'old', kept: 5, restored: 0 }],
  ];
  it.each(cases)('by the policy %s', async (overwrite, { a, b, kept, restored }) => {
    const place = await prepare();
    await restoreTo(place, {});
    await disturb(place.path);
    const policy = overwrite === undefined ? {} : { overwrite };
    const dry = await restoreTo(place, { ...policy, isDryRun: true });
    expect(await contentsOf(place.path)).toMatchObject({ 'data/a': 'xyz', 'data/sub/b': 'old' });
    const result = await restoreTo(place, policy);
    expect(await contentsOf(place.path)).toEqual({
      'data/a': a,
      'data/big': Buffer.from(begins).toString('latin1'),
      'data/empty': '',
      'data/sub/b': b,
    });
    expect(result).toMatchObject({ keptCount: kept, filesRestored: restored, failed: [], warnings: [] });
    const { keptCount, filesRestored, otherRestored, bytesRestored } = result;
    expect(dry).toMatchObject({ keptCount, filesRestored, otherRestored, bytesRestored });
  });

  it('of a recovery that was interrupted is not fetched again, and gets its mode', async () => {
    const place = await prepare();
    await restoreTo(place, {});
    await chmod(`${place.path}/data/big`, 0o600);
    await rm(`${place.path}/data/a`);
    // Begun and not finished: it has another time.
    await writeFile(`${place.path}/data/sub/b`, 'bb');
    const result = await restoreTo(place, { overwrite: 'if-changed' });
    expect(result).toMatchObject({ filesRestored: 2, bytesRestored: 6, keptCount: 3 });
    expect((await stat(`${place.path}/data/big`)).mode & 0o777).toBe(0o644);
  });

  it('and is not in the snapshot goes when told to, but for what was not selected', async () => {
    const place = await prepare();
    const outside = await scratch();
    await writeFile(`${outside}/theirs`, 'theirs');
    await restoreTo(place, {});
    await mkdir(`${place.path}/data/sub/more/deep`, { recursive: true });
    await writeFile(`${place.path}/data/sub/more/deep/file`, 'x');
    await symlink(outside, `${place.path}/data/sub/way`);
    await writeFile(`${place.path}/data/extra`, 'x');
    await writeFile(`${place.path}/above`, 'x');
    const options = { overwrite: 'if-changed', deletesExtra: true } as const;
    expect(await restoreTo(place, { ...options, isDryRun: true })).toMatchObject({ removedCount: 6, removedBytes: 3 });
    expect(await readdir(`${place.path}/data/sub`)).toHaveLength(3);
    const part = await restoreTo(place, { ...options, select: { paths: ['/data/sub'] } });
    expect(part.removedCount).toBe(4);
    expect(await readdir(`${place.path}/data/sub`)).toEqual(['b']);
    expect(await readdir(`${place.path}/data`)).toContain('extra');
    expect(await restoreTo(place, options)).toMatchObject({ removedCount: 2 });
    expect((await readdir(place.path)).toSorted()).toEqual(['data']);
    expect(await readdir(outside)).toEqual(['theirs']);
  });
});

describe('a dry run', () => {
  it('makes nothing, not even the folder', async () => {
    const { repository, snapshotId, path } = await prepare();
    const target = openFileSystemTarget({ path: `${path}/new`, roots: [path], overwrite: false });
    const result = await restore({ repository, snapshotId, target, clock, isDryRun: true, overwrite: 'if-changed' });
    expect(result).toMatchObject({ filesRestored: 4, directoriesRestored: 2, otherRestored: 1, bytesRestored: 3_000_006 });
    expect(await readdir(path)).toEqual([]);
  });

  it('is refused where a target cannot be tried', async () => {
    const { repository, snapshotId } = await prepare();
    const running = restore({ repository, snapshotId, target: openMemoryTarget(), clock, isDryRun: true });
    await expect(running).rejects.toSatisfy((error) => isHoldfastError(error, 'type_not_supported'));
  });
});

describe('a sparse file', () => {
  it('gets holes for its zeros, and is the same', async () => {
    const bytes = new Uint8Array(20_000_000);
    bytes.set(noise(100_001, 1), 5_000_017);
    const repository = await createTestRepository();
    const entries: MemoryFolder = {
      disk: { type: 'file', bytes },
      zeros: { type: 'file', bytes: new Uint8Array(100_000) },
      tail: { type: 'file', bytes: noise(70_000, 2).fill(0, 1000) },
    };
    const { snapshotId } = await archiveTree(repository, { data: { type: 'dir', entries } });
    const [dense, sparse] = [await scratch(), await scratch()];
    await restoreTo({ repository, snapshotId, path: dense }, {});
    await restoreTo({ repository, snapshotId, path: sparse }, { isSparse: true });
    for (const name of ['disk', 'zeros', 'tail']) {
      const [a, b] = [await readFile(`${dense}/data/${name}`), await readFile(`${sparse}/data/${name}`)];
      expect(Buffer.compare(a, b)).toBe(0);
      const [full, holed] = [await stat(`${dense}/data/${name}`), await stat(`${sparse}/data/${name}`)];
      expect(holed.blocks).toBeLessThan(full.blocks / 2);
    }
  });
});
