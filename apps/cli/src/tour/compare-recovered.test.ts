import { chmod, cp, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareRecovered } from './compare-recovered.ts';
import { listTree, type TreeListing } from './list-tree.ts';

let folder: string;
let source: string;
let recovered: string;
let before: TreeListing;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-compare-'));
  [source, recovered] = [join(folder, 'source'), join(folder, 'recovered')];
  await mkdir(join(source, 'a', 'b'), { recursive: true });
  await mkdir(join(source, 'left-out'));
  await writeFile(join(source, 'left-out', 'x'), 'x');
  await writeFile(join(source, 'a', 'one'), 'one');
  await writeFile(join(source, 'a', 'b', 'two'), 'two!', { mode: 0o640 });
  await symlink('one', join(source, 'a', 'link'));
  await cp(source, recovered, {
    recursive: true,
    preserveTimestamps: true,
    verbatimSymlinks: true,
    filter: (path) => !path.includes('left-out'),
  });
  // cp keeps milliseconds only, and folders get their time from what is put into them.
  const time = new Date(1_600_000_000_000);
  for (const top of [source, recovered]) for (const path of ['a/one', 'a/b/two', 'a/b', 'a', '']) await utimes(join(top, path), time, time);
  before = await list(source, true);
});
afterEach(() => rm(folder, { recursive: true }));

const list = (path: string, hash: boolean) => listTree(path, { hash, isExcluded: (name) => name === 'left-out' });
const compare = async () => compareRecovered(before, await list(source, false), await list(recovered, true));

test('what came back as it was is the same', async () => {
  expect(await compare()).toEqual({ fileCount: 2, bytes: 7, changedMeanwhileCount: 0, differences: [] });
});

test('other content, mode, time, kind and link, and what is missing or too much, are each told', async () => {
  const time = new Date(1_600_000_000_000);
  await writeFile(join(recovered, 'a', 'one'), 'eno');
  await utimes(join(recovered, 'a', 'one'), time, time);
  await chmod(join(recovered, 'a', 'b'), 0o700);
  await rm(join(recovered, 'a', 'b', 'two'));
  await writeFile(join(recovered, 'a', 'b', 'three'), '');
  await rm(join(recovered, 'a', 'link'));
  await symlink('b', join(recovered, 'a', 'link'));
  const { differences } = await compare();
  expect(differences.toSorted()).toEqual([
    'a/b/three: recovered although the source does not hold it',
    'a/b/two: missing in what was recovered',
    'a/b: has mode 700, not 755',
    'a/link: points elsewhere',
    'a/one: has other content',
    'a: has another modification time',
  ]);
});

test('what changed in the source while the backup ran is counted and not judged', async () => {
  await writeFile(join(source, 'a', 'one'), 'changed');
  await rm(join(source, 'a', 'b', 'two'));
  await writeFile(join(recovered, 'a', 'b', 'temporary'), 'came and went');
  expect(await compare()).toMatchObject({ fileCount: 0, differences: [] });
  expect((await compare()).changedMeanwhileCount).toBe(4);
});

test('nothing recovered at all is everything missing', async () => {
  await rm(recovered, { recursive: true });
  expect((await compare()).differences).toHaveLength(before.size);
});
