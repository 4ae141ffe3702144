import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdir, mkdtemp, realpath, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OverwritePolicy } from './overwrite-policy.ts';
import { openRepository } from './repository.ts';
import { restore, type RestoreOptions, type RestoreResult } from './restorer.ts';
import { listSnapshots } from './snapshots.ts';
import { describeRealTree } from './testing/real-tree.ts';
import { findStockRestics, type StockRestic } from './testing/stock-restic.ts';
import { impatientClock as clock } from './testing/test-repository.ts';

const { found } = await findStockRestics();
/** Of its kind the first restic that deletes, tries and has policies. */
const newer = found.filter(({ version }) => Number(version.split('.')[1]) >= 17);
let place = '';
let source = '';

beforeAll(async () => {
  place = await realpath(await mkdtemp(`${tmpdir()}/holdfast-aimed-interop-`));
  source = `${place}/source`;
  for (const folder of ['a/b/c', 'logs/old', 'empty']) await mkdir(`${source}/${folder}`, { recursive: true });
  const names = ['x.txt', 'x.log', 'a/x.txt', 'a/.hidden', 'a/b/x.log', 'a/b/c/x.txt', 'a/b/c/[y]', 'logs/1.log', 'logs/old/2.log'];
  for (const name of names) {
    await writeFile(`${source}/${name}`, name.repeat(200));
    await utimes(`${source}/${name}`, 1_600_000_000, 1_600_000_000);
  }
  await writeFile(`${source}/a/large`, Buffer.alloc(6_000_000, 'large'));
  await symlink('x.txt', `${source}/a/link`);
  for (const { run, version } of found) {
    await run(`${place}/${version}`, ['init']);
    await run(`${place}/${version}`, ['backup', source]);
  }
});
afterAll(() => rm(place, { recursive: true, force: true }));

async function ours(restic: StockRestic, path: string, options: Partial<RestoreOptions>): Promise<RestoreResult> {
  const repository = await openRepository({ storage: await openLocalStorage({ path: `${place}/${restic.version}` }), password: 'secret' });
  const [snapshot] = await listSnapshots(repository);
  const target = openFileSystemTarget({ path, roots: [place], overwrite: true });
  return await restore({ repository, snapshotId: snapshot?.id ?? '', target, clock, listsRefused: true, ...options });
}

/** All but folders: older versions leave such as are only the way to nothing, and times that differ. */
async function filesOf(path: string): Promise<string[]> {
  return (await describeRealTree(path)).filter((line) => !line.includes(' 40000 '));
}

const selections: [args: (at: string) => string[], select: (at: string) => RestoreOptions['select']][] = [
  [() => ['--include', '*.txt'], () => ({ globs: ['*.txt'] })],
  [(at) => ['--include', `${at}/a/b`], (at) => ({ paths: [`${at}/a/b`] })],
  [(at) => ['--include', `${at}/a/b`], (at) => ({ globs: [`${at}/a/b`] })],
  [(at) => ['--include', `${at}/*/x.*`, '--include', 'old'], (at) => ({ globs: [`${at}/*/x.*`, 'old'] })],
  [() => ['--include', 'a/**/x.*'], () => ({ globs: ['a/**/x.*'] })],
  [() => ['--include', String.raw`\[y\]`, '--include', '.h*'], () => ({ globs: [String.raw`\[y\]`, '.h*'] })],
  [() => ['--exclude', '*.log'], () => ({ excludes: ['*.log'] })],
  [(at) => ['--exclude', `${at}/a/**/x.txt`, '--exclude', 'logs'], (at) => ({ excludes: [`${at}/a/**/x.txt`, 'logs'] })],
];

describe.each(found)('a part, as $name ($version) restores it', (restic) => {
  it.each(selections)('is the same by selection %#', async (args, select) => {
    const number = Math.random().toString(36).slice(2);
    const [theirs, mine] = [`${place}/theirs-${number}`, `${place}/mine-${number}`];
    await restic.run(`${place}/${restic.version}`, ['restore', 'latest', '--target', theirs, ...args(source)]);
    const result = await ours(restic, mine, { select: select(source) ?? {} });
    const expected = await filesOf(theirs);
    expect(expected.length).toBeGreaterThan(0);
    expect(await filesOf(mine)).toEqual(expected);
    expect(result).toMatchObject({ failedCount: 0, notPossibleCount: 0 });
  });
});

describe.each(newer)('over what is there, as $name ($version) does it', (restic) => {
  /** Two restored trees, with things changed in the same way. */
  const disturbed = async (): Promise<[string, string]> => {
    const number = Math.random().toString(36).slice(2);
    const copies: [string, string] = [`${place}/over-theirs-${number}`, `${place}/over-mine-${number}`];
    for (const copy of copies) {
      await restic.run(`${place}/${restic.version}`, ['restore', 'latest', '--target', copy]);
      const at = `${copy}${source}`;
      await rm(`${at}/a/x.txt`);
      await mkdir(`${at}/a/extra/deep`, { recursive: true });
      for (const name of ['x.txt', 'x.log', 'a/extra/deep/file', 'a/extra/e.log', 'logs/3.log', 'z']) {
        await writeFile(`${at}/${name}`, 'other');
        const seconds = name === 'x.log' ? 1000 : 1_700_000_000;
        await utimes(`${at}/${name}`, seconds, seconds);
      }
    }
    return copies;
  };

  it.each<OverwritePolicy>(['always', 'if-changed', 'if-newer', 'never'])('by the policy %s', async (overwrite) => {
    const [theirs, mine] = await disturbed();
    await restic.run(`${place}/${restic.version}`, ['restore', 'latest', '--target', theirs, '--overwrite', overwrite]);
    await ours(restic, mine, { overwrite });
    expect(await filesOf(mine)).toEqual(await filesOf(theirs));
  });

  it.each<[string, (at: string) => string[], (at: string) => RestoreOptions['select']]>([
    ['everything', () => [], () => ({})],
    ['a folder', (at) => ['--include', `${at}/a`], (at) => ({ paths: [`${at}/a`] })],
    ['all but what is excluded', () => ['--exclude', 'logs'], () => ({ excludes: ['logs'] })],
  ])('deleting what is too much in %s, after a dry run that changes nothing', async (_name, args, select) => {
    const [theirs, mine] = await disturbed();
    const before = await describeRealTree(mine);
    const options = { select: select(source) ?? {}, overwrite: 'always', deletesExtra: true } as const;
    const theirArgs = ['restore', 'latest', '--target', theirs, '--delete', ...args(source)];
    const told = await restic.run(`${place}/${restic.version}`, [...theirArgs, '--dry-run', '-vv']);
    const { plan, removedCount } = await ours(restic, mine, { ...options, isDryRun: true });
    expect(await describeRealTree(mine)).toEqual(before);
    const deleted = told.split('\n').filter((line) => line.startsWith('deleted'));
    const toldPaths = deleted.map((line) =>
      line
        .replace(/^deleted\s+/, '')
        .replace(/ with size .*$/, '')
        .replace(/\/$/, '')
        .slice(theirs.length),
    );
    expect(plan?.deleted.first.map(({ path }) => path).toSorted()).toEqual(toldPaths.toSorted());
    await restic.run(`${place}/${restic.version}`, theirArgs);
    expect(await ours(restic, mine, options)).toMatchObject({ removedCount, failedCount: 0 });
    expect(await filesOf(mine)).toEqual(await filesOf(theirs));
  });
});
