import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfigurationGlob } from '../source-options/configuration.ts';
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

test('a glob begins at what no wildcard is in', () => {
  const begin = (glob: string) => {
    const { base, steps } = parseConfigurationGlob(glob);
    return [base, steps.length];
  };
  expect(begin('/etc/nginx/*.conf')).toEqual(['/etc/nginx', 1]);
  expect(begin('/etc/**/x/[ab]')).toEqual(['/etc', 3]);
  expect(begin('/etc/hosts')).toEqual(['/etc', 1]);
  expect(begin('/etc/./hosts/')).toEqual(['/etc', 1]);
  expect(begin('/*')).toEqual(['/', 1]);
});

test.runIf(process.geteuid?.() === 0)('a folder that cannot be listed is named, and what is beside it is found', async () => {
  const denied = join(root, 'etc/app/sites');
  await chmod(denied, 0o000);
  const nobody = 65_534;
  await chmod(root, 0o755);
  const program = `
    process.setgid(${nobody}); process.setuid(${nobody});
    const { findGlobMatches } = await import(${JSON.stringify(new URL('find-glob-matches.ts', import.meta.url).href)});
    const found = await findGlobMatches([process.argv[1]], { roots: [${JSON.stringify(root)}], signal: new AbortController().signal });
    console.log(JSON.stringify({ ...found, paths: [...found.paths] }));`;
  const args = ['--input-type=module', '--eval', program, join(root, 'etc/**/*.conf')];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { NODE_NO_WARNINGS: '1' } });
  const found = JSON.parse(stdout) as { paths: string[]; unreadable: unknown };
  expect(found.unreadable).toEqual([{ path: denied, reason: 'EACCES' }]);
  expect(names(found.paths)).toEqual(['etc/app/main.conf']);
});
