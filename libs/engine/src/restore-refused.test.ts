import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { restore, type RestoreOptions, type RestoreResult } from './restorer.ts';
import { forgeSnapshot } from './testing/forged-snapshot.ts';
import type { MemoryEntry, MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, text } from './testing/test-repository.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
afterAll(() => pool.close());

const dir = (entries: MemoryFolder): MemoryEntry => ({ type: 'dir', entries });

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(`${tmpdir()}/holdfast-refused-`));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const badNames = ['../evil', '..', '.', '', 'in/side', '/etc/evil', 'nu\0l', 'x'.repeat(256)];

describe('a snapshot that somebody made to write elsewhere', () => {
  const nodes = [
    { name: 'a', below: 'a' },
    ...badNames.map((name) => ({ name, below: 'evil' })),
    { name: '../folder', below: [{ name: 'inner', below: 'evil' }] },
    {
      name: 'good',
      below: [
        { name: '..', below: [{ name: 'evil', below: 'evil' }] },
        { name: 'b', below: 'b' },
      ],
    },
    { name: 'long', below: [{ name: 'y'.repeat(256), below: 'y' }] },
  ];

  it.each<[string, Partial<RestoreOptions>]>([
    ['by threads', { pool }],
    ['in one thread', {}],
    ['looking at each', { overwrite: 'if-changed' }],
    ['by excludes', { select: { excludes: ['nothing'] } }],
    ['by a glob', { select: { globs: ['*'] } }],
    ['below a prefix', { layout: { prefix: 'sub' } }],
    ['tried', { isDryRun: true }],
  ])('has those names left out and listed, and nothing is written outside: %s', async (_name, options) => {
    const repository = await createTestRepository();
    const snapshotId = await forgeSnapshot(repository, nodes);
    const around = await scratch();
    const path = `${around}/deep/er/target`;
    await mkdir(path, { recursive: true });
    const open = () => openFileSystemTarget({ path, roots: [path], overwrite: true });
    const result = await restore({ repository, snapshotId, target: open(), clock, listsRefused: true, ...options });
    expect(new Set(result.notPossible.map(({ code }) => code))).toEqual(new Set(['path_outside_roots']));
    // A name of 256 bytes is only known as such where it is to be written.
    expect(result.notPossibleCount).toBe(11);
    expect(JSON.stringify(result.notPossible)).not.toContain(String.raw`\u0000`);
    const base = options.layout === undefined ? 'deep/er/target' : 'deep/er/target/sub';
    const whole = [`${base}/a`, `${base}/good`, `${base}/good/b`, `${base}/long`];
    const folders = ['deep', 'deep/er', 'deep/er/target', ...(options.layout === undefined ? [] : [base])];
    const written = (await readdir(around, { recursive: true })).toSorted();
    expect(written).toEqual(options.isDryRun === true ? folders : [...folders, ...whole].toSorted());
  });

  it('is damaged for whoever does not ask for what is left out', async () => {
    const repository = await createTestRepository();
    const snapshotId = await forgeSnapshot(repository, nodes.slice(0, 4));
    const path = await scratch();
    const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
    const result = await restore({ repository, snapshotId, target, clock });
    expect(result.failed.map(({ code }) => code)).toEqual(['repository_damaged', 'repository_damaged', 'repository_damaged']);
    expect(await readdir(path)).toEqual(['a']);
  });
});

/** Has a name everywhere, and no rights. */
const nobody = 65_534;

const asNobody = async (args: readonly string[]): Promise<RestoreResult> => {
  const script = new URL('testing/restore-as.ts', import.meta.url).pathname;
  const account = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
  const { stdout } = await promisify(execFile)('setpriv', [...account, process.execPath, script, ...args]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as RestoreResult;
};

describe.runIf(process.geteuid?.() === 0)('a target that holds another user’s files', () => {
  it('has listed what may not be touched, before and after, and takes the rest', async () => {
    const [place, path] = [await scratch(), await scratch()];
    await chmod(place, 0o755);
    const repository = await createTestRepository(await openLocalStorage({ path: `${place}/repository` }));
    const tree: MemoryFolder = { data: dir({ mine: dir({ a: text('a') }), theirs: dir({ b: text('b'), c: text('c') }) }) };
    const { snapshotId } = await archiveTree(repository, tree);
    await promisify(execFile)('chown', ['-R', `${nobody}:${nobody}`, place]);
    await mkdir(`${path}/data/theirs`, { recursive: true });
    await writeFile(`${path}/data/theirs/b`, 'theirs');
    for (const name of ['', '/data']) await chown(`${path}${name}`, nobody, nobody);

    const args = [`${place}/repository`, snapshotId, path];
    const tried = await asNobody([...args, JSON.stringify({ isDryRun: true })]);
    expect(await readdir(`${path}/data`)).toEqual(['theirs']);
    const done = await asNobody(args);
    for (const { failed, failedCount } of [tried, done]) {
      expect(failedCount).toBeGreaterThan(0);
      expect(failed.every(({ path: at, code }) => at.startsWith('/data/theirs') && code === 'target_not_writable')).toBe(true);
    }
    expect(tried.plan).toMatchObject({ written: { count: 1 }, foldersWritten: 1 });
    expect(await readFile(`${path}/data/theirs/b`, 'utf8')).toBe('theirs');
    expect(await readdir(`${path}/data/theirs`)).toEqual(['b']);
    expect(await readFile(`${path}/data/mine/a`, 'utf8')).toBe('a');
    expect((await stat(`${path}/data/mine/a`)).uid).toBe(nobody);
    // One warning for all, and none where nobody asked for owners.
    expect(done.warnings.filter(({ reason }) => reason.startsWith('owners'))).toHaveLength(1);
    const none = await asNobody([...args, JSON.stringify({ owners: 'none' })]);
    expect(none.warnings.filter(({ reason }) => reason.startsWith('owner'))).toEqual([]);
  });
});
