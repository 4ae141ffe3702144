import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { globTop } from '../source-options/configuration.ts';
import { findGlobMatches } from './find-glob-matches.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-globs-'));
  await mkdir(join(root, 'etc/app/sites/deep'), { recursive: true });
  for (const name of ['etc/app/main.conf', 'etc/app/main.txt', 'etc/app/sites/a.conf', 'etc/app/sites/deep/b.conf', 'etc/hosts']) {
    await writeFile(join(root, name), name);
  }
  await symlink('../main.conf', join(root, 'etc/app/sites/linked.conf'));
  await symlink('/', join(root, 'etc/app/everything'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const find = (globs: string[], more: Partial<Parameters<typeof findGlobMatches>[1]> = {}) =>
  findGlobMatches(
    globs.map((glob) => join(root, glob)),
    { roots: [root], signal: new AbortController().signal, ...more },
  );
const names = (paths: Iterable<string>) => [...paths].map((path) => path.slice(root.length + 1)).toSorted();

test('files and links that match are found, whatever the depth, and no link is followed', async () => {
  const found = await find(['etc/**/*.conf', 'etc/hosts', 'nothing/*.conf', 'etc/app/*.conf']);
  expect(names(found.paths)).toEqual([
    'etc/app/main.conf',
    'etc/app/sites/a.conf',
    'etc/app/sites/deep/b.conf',
    'etc/app/sites/linked.conf',
    'etc/hosts',
  ]);
  expect(found.counts.map(({ matchCount }) => matchCount)).toEqual([4, 1, 0, 1]);
  expect(names(found.folders)).toEqual(['etc', 'etc/app']);
  expect(names((await find(['etc/app/*'])).paths)).toEqual(['etc/app/everything', 'etc/app/main.conf', 'etc/app/main.txt']);
});

test('a glob that matches too many files, or has too much to look at, is refused by its name', async () => {
  for (let nth = 0; nth < 40; nth++) await writeFile(join(root, 'etc', `n${nth}.conf`), '');
  const refusal = (what: string) => ({ code: 'request_invalid', message: expect.stringContaining(what) });
  await expect(find(['etc/*.conf'], { limits: { maxMatchCount: 39, maxVisitedCount: 1000 } })).rejects.toMatchObject(
    refusal('match more than 39 files'),
  );
  await expect(find(['etc/*.none'], { limits: { maxMatchCount: 39, maxVisitedCount: 20 } })).rejects.toMatchObject(
    refusal(`the glob ${root}/etc/*.none has more than 20 entries`),
  );
});

test('a folder outside of the roots is refused, also behind a link, and an abort ends the walk', async () => {
  const outside = { code: 'path_outside_roots' };
  await expect(find(['../*.conf'])).rejects.toMatchObject(outside);
  await expect(find(['etc/app/everything/etc/*.conf'])).rejects.toMatchObject(outside);
  await expect(find(['etc/**'], { signal: AbortSignal.abort(new Error('asked to stop')) })).rejects.toThrow('asked to stop');
});

test('the top of a glob is what no wildcard is in', () => {
  expect(globTop('/etc/nginx/*.conf')).toEqual({ folder: '/etc/nginx', names: ['*.conf'] });
  expect(globTop('/etc/**/x/[ab]')).toEqual({ folder: '/etc', names: ['**', 'x', '[ab]'] });
  expect(globTop('/etc/hosts')).toEqual({ folder: '/etc', names: ['hosts'] });
  expect(globTop('/*')).toEqual({ folder: '/', names: ['*'] });
});
