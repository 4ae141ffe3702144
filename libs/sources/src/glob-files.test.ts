import { link, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findFiles } from './glob-files.ts';
import { isGlob } from './glob-pattern.ts';
import { pathFromBytes } from './system-path.ts';

async function folderWith(paths: readonly string[]): Promise<string> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-globs-')));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  for (const path of paths) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), path);
  }
  return root;
}

const find = async (globs: readonly string[], roots: readonly string[], maxCount = 100) =>
  await findFiles(globs, { roots, maxCount, signal: new AbortController().signal });

async function namesOf(root: string, ...globs: string[]): Promise<string[]> {
  const { files } = await find(
    globs.map((glob) => `${root}/${glob}`),
    [root],
  );
  return files.map(({ path }) => path.slice(root.length + 1));
}

describe('findFiles', () => {
  it('takes files by names, sorted and each once', async () => {
    const root = await folderWith(['app.log', 'app.log.1', 'app.log.2.gz', 'app.txt', 'b/app.log', 'b/c/app.log', 'old/x.log']);
    expect(await namesOf(root, 'app.log*', '*.log')).toEqual(['app.log', 'app.log.1', 'app.log.2.gz']);
    expect(await namesOf(root, 'app.log.[0-9]')).toEqual(['app.log.1']);
    expect(await namesOf(root, '*/*.log')).toEqual(['b/app.log', 'old/x.log']);
    expect(await namesOf(root, '**/app.log')).toEqual(['app.log', 'b/app.log', 'b/c/app.log']);
    expect(await namesOf(root, 'b/**')).toEqual(['b/app.log', 'b/c/app.log']);
    expect(await namesOf(root, 'app.txt')).toEqual(['app.txt']);
    expect(await namesOf(root, 'none/*.log')).toEqual([]);
  });

  it('says where its globs begin and which found nothing', async () => {
    const root = await folderWith(['a/x.log', 'a/b/y.log']);
    const { bases, unmatched, files } = await find([`${root}/a/*.log`, `${root}/a/b/*.log`, `${root}/c/*.log`], [root]);
    expect(bases).toEqual([`${root}/a`, `${root}/c`]);
    expect(unmatched).toEqual([`${root}/c/*.log`]);
    expect(files.map(({ sizeBytes }) => sizeBytes)).toEqual([9, 7]);
  });

  it('follows no symlink below its beginning, and none out of the roots above', async () => {
    const outside = await folderWith(['secret.log']);
    const root = await folderWith(['in/x.log']);
    await symlink(outside, join(root, 'out'));
    await symlink(join(outside, 'secret.log'), join(root, 'in', 'y.log'));
    await symlink(join(root, 'in'), join(root, 'again'));
    expect(await namesOf(root, '*/*.log', '**/*.log')).toEqual(['in/x.log']);
    // What the operator's roots hold may be named through a symlink that stays in them.
    expect(await namesOf(root, 'again/*.log')).toEqual(['in/x.log']);
    await expect(find([`${root}/out/*.log`], [root])).rejects.toMatchObject({ code: 'path_outside_roots' });
    await expect(find([`${outside}/*.log`], [root])).rejects.toMatchObject({ code: 'path_outside_roots' });
  });

  it('takes both names of one file, and names of any bytes', async () => {
    const root = await folderWith(['x.log']);
    await link(join(root, 'x.log'), join(root, 'y.log'));
    await writeFile(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xe9]), Buffer.from('.log')]), 'odd');
    expect(await namesOf(root, '*.log')).toEqual(['x.log', 'y.log', pathFromBytes(Buffer.from([0xff, 0xe9, 0x2e, 0x6c, 0x6f, 0x67]))]);
  });

  it('refuses more files than it may take, by name of the glob', async () => {
    const root = await folderWith(Array.from({ length: 40 }, (_, nth) => `${nth}.log`));
    await expect(find([`${root}/*.log`], [root], 39)).rejects.toMatchObject({
      code: 'request_invalid',
      message: expect.stringContaining('*.log" brings the files of the config to more than 39') as unknown,
    });
    expect((await find([`${root}/*.log`], [root], 40)).files).toHaveLength(40);
  });

  it('ends when it is aborted', async () => {
    const root = await folderWith(['x.log']);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(findFiles([`${root}/*`], { roots: [root], maxCount: 9, signal })).rejects.toThrow('enough');
  });
});

describe('isGlob', () => {
  it.each(['/var/log/*.log', '/a', '/var/**/x', String.raw`/a\*/b`])('takes %s', (text) => {
    expect(isGlob(text)).toBe(true);
  });

  it.each(['', '/', 'a/*.log', '/a/../b', '/a/./b', '/var/log/', '/a[', '/a\0', '/a/..'])('refuses %j', (text) => {
    expect(isGlob(text)).toBe(false);
  });
});
