import { openFileSystemSource, type FileSystemSourceOptions } from '@holdfast/sources/file-system-source';
import type { Source } from '@holdfast/sources/source';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { joinPath } from './source-node.ts';
import { findStockRestics } from './testing/stock-restic.ts';

const { found } = await findStockRestics();
let place = '';
let source = '';

beforeAll(async () => {
  place = await realpath(await mkdtemp(`${tmpdir()}/holdfast-selected-`));
  source = `${place}/source`;
  for (const folder of ['a/b/c', 'cache/sub', 'other cache', 'private', 'empty']) await mkdir(`${source}/${folder}`, { recursive: true });
  const names = [
    'x.txt',
    'x.log',
    'a/x.txt',
    'a/.hidden',
    'a/b/x.log',
    'a/b/c/x.txt',
    'a/b/c/[y]',
    'cache/x.txt',
    'cache/sub/x',
    'private/x',
  ];
  for (const name of names) await writeFile(`${source}/${name}`, 'x'.repeat(name.length * 200));
  await writeFile(`${source}/cache/CACHEDIR.TAG`, 'Signature: 8a477f597d28d172789f06886806bc55\n');
  await writeFile(`${source}/other cache/CACHEDIR.TAG`, 'none');
  await writeFile(`${source}/other cache/x`, 'x');
  await writeFile(`${source}/private/.nobackup`, 'no');
  await writeFile(`${place}/patterns`, `# of these\n*.log\n\n  ${place}/source/a/b/c\n!x.log\n`);
});
afterAll(() => rm(place, { recursive: true, force: true }));

async function pathsOf(opened: Source, folder = '/'): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await opened.readDirectory(folder)) {
    if (entry.kind === 'skipped') continue;
    const path = joinPath(folder, entry.node.name);
    paths.push(path, ...(entry.node.type === 'dir' ? await pathsOf(opened, path) : []));
  }
  return paths;
}

const cases: [args: (at: string) => string[], options: (at: string) => Partial<FileSystemSourceOptions>][] = [
  [() => ['--exclude', '*.txt', '--exclude', '!x.txt'], () => ({ excludes: ['*.txt', '!x.txt'] })],
  [() => ['--exclude', 'a/**/x.*'], () => ({ excludes: ['a/**/x.*'] })],
  [() => ['--exclude', String.raw`\[y\]`, '--exclude', 'b/?'], () => ({ excludes: [String.raw`\[y\]`, 'b/?'] })],
  [(at) => ['--exclude-file', `${at}/patterns`], (at) => ({ excludeFiles: [`${at}/patterns`] })],
  [() => ['--exclude-caches'], () => ({ excludeCaches: true })],
  [() => ['--exclude-if-present', '.nobackup'], () => ({ excludeIfPresent: [{ name: '.nobackup' }] })],
  [() => ['--exclude-if-present', 'CACHEDIR.TAG:none'], () => ({ excludeIfPresent: [{ name: 'CACHEDIR.TAG', header: 'none' }] })],
  [() => ['--exclude-larger-than', '2000'], () => ({ excludeLargerThanBytes: 2000 })],
  [
    () => ['--one-file-system', '--exclude-caches', '--exclude', '.*'],
    () => ({ oneFileSystem: true, excludeCaches: true, excludes: ['.*'] }),
  ],
];

describe.each(found)('what is left out, as $name ($version) has it', (restic) => {
  it('is the same', async () => {
    const path = `${place}/repository-${restic.version}`;
    await restic.run(path, ['init']);
    for (const [args, options] of cases) {
      await restic.run(path, ['backup', ...args(place), source]);
      const listed = (await restic.run(path, ['ls', 'latest', '--json'])).trim().split('\n').slice(1);
      const theirs = listed.map((line) => (JSON.parse(line) as { path: string }).path);
      const opened = await openFileSystemSource({ paths: [source], roots: [place], ...options(place) });
      expect((await pathsOf(opened)).toSorted(), args(place).join(' ')).toEqual(theirs.toSorted());
    }
  });
});
