import type { TreeNode } from '@holdfast/restic-format/node';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive, type ArchiveResult } from './archiver.ts';
import { createBlobLoader } from './blob-loader.ts';
import { check } from './checker.ts';
import { createRepository } from './create-repository.ts';
import { forget } from './forget.ts';
import { loadIndex } from './load-index.ts';
import { acquireLock } from './lock.ts';
import { prune } from './pruner.ts';
import { openRepository, type Repository } from './repository.ts';
import { restore } from './restorer.ts';
import { listSnapshots, type Snapshot } from './snapshots.ts';
import { describeRealTree, makeRealTree } from './testing/real-tree.ts';
import { findStockRestics, type StockRestic } from './testing/stock-restic.ts';
import { cheapKdf } from './testing/test-repository.ts';
import { verifyRestored } from './verify-restored.ts';

const { found, missing } = await findStockRestics();
let place = '';
let source = '';
let fileCount = 0;

beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-interop-`);
  source = await mkdtemp(`${tmpdir()}/holdfast-interop-source-`);
  await makeRealTree(source);
  fileCount = (await describeRealTree(source)).filter((line) => line.includes(' 100000 ')).length;
});
afterAll(async () => {
  for (const path of [place, source]) await rm(path, { recursive: true, force: true });
});

/** A folder of its own for each use. */
let folderCount = 0;
const newPath = (name: string): string => `${place}/${name}-${folderCount++}`;

async function createAt(path: string, password = 'secret'): Promise<Repository> {
  const storage = await openLocalStorage({ path });
  return await createRepository({ storage, password, hostname: hostname(), username: 'root', kdf: cheapKdf });
}

async function openAt(path: string): Promise<Repository> {
  return await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });
}

async function archiveSource(repository: Repository, parent?: Snapshot): Promise<ArchiveResult> {
  const opened = await openFileSystemSource({ paths: [source], roots: [source] });
  try {
    const own = { repository, source: opened, hostname: hostname(), username: 'root', tags: ['holdfast'], programVersion: 'holdfast test' };
    return await archive(parent === undefined ? own : { ...own, parent });
  } finally {
    await opened.close();
  }
}

/** Restores to a new folder and compares it with the source, by its own means and with verifyRestored. */
async function expectRestored(repository: Repository, snapshotId: string): Promise<void> {
  const path = newPath('restored');
  const result = await restore({ repository, snapshotId, target: openFileSystemTarget({ path, roots: [place], overwrite: false }) });
  expect(result.failed).toEqual([]);
  expect(result.hardLinksRestored).toBe(2);
  expect(await describeRealTree(path + source)).toEqual(await describeRealTree(source));
  const restored = await openFileSystemSource({ paths: [path], roots: [place] });
  const { differences, filesCompared } = await verifyRestored({ repository, snapshotId, source: restored, restoredRoot: path });
  await restored.close();
  expect(differences).toEqual([]);
  expect(filesCompared).toBe(fileCount);
}

async function expectClean(repository: Repository): Promise<void> {
  for (const level of ['integrity', 'checksum'] as const) expect((await check({ repository, level })).findings).toEqual([]);
}

/** `/` and the folder for temporary files. */
const foldersAbove = 2;

/** The id of the source's own tree, below the folders above it. */
async function sourceTreeOf(repository: Repository, treeId: string): Promise<string | undefined> {
  const loader = createBlobLoader(repository, (await loadIndex(repository)).index);
  let subtree: string | undefined = treeId;
  for (const name of source.split('/').filter(Boolean)) {
    const nodes: TreeNode[] = await loader.loadTree(subtree ?? '');
    subtree = nodes.find((node) => node.name === name)?.subtree;
  }
  expect(subtree).toBeDefined();
  return subtree;
}

interface BackupSummary {
  readonly message_type: string;
  readonly data_blobs: number;
  readonly tree_blobs: number;
  readonly files_unmodified: number;
}

async function backupWithRestic(restic: StockRestic, path: string, args: readonly string[] = []): Promise<BackupSummary> {
  const lines = (await restic.run(path, ['backup', '--json', ...args, source])).trim().split('\n');
  return JSON.parse(lines.at(-1) ?? '') as BackupSummary;
}

it.skipIf(missing.length > 0)(`stock restic is here (missing: ${missing.join(', ') || 'none'})`, () => {
  expect(found).toHaveLength(2);
});

describe.each(found)('with $name ($version)', (restic) => {
  it('what we write is checked, restored and extended by it', async () => {
    const path = newPath('ours');
    await using repository = await createAt(path);
    const first = await archiveSource(repository);
    expect(first.skipped).toEqual([]);
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');

    const target = newPath('by-restic');
    await restic.run(path, ['restore', first.snapshotId, '--target', target]);
    expect(await describeRealTree(target + source)).toEqual(await describeRealTree(source));

    // One file of many chunks and one with a name that takes some quoting, by themselves.
    for (const name of ['text.sql', 'sub/new\nline', 'sub/deep/deeper/file-17']) {
      expect(await restic.run(path, ['dump', first.snapshotId, `${source}/${name}`])).toBe(await readFile(`${source}/${name}`, 'utf8'));
    }

    // Every file is read and cut again, and nothing is new: not one blob, and the same trees, but for those above, whose times others change.
    const forced = await backupWithRestic(restic, path, ['--force']);
    expect(forced.data_blobs).toBe(0);
    expect(forced.tree_blobs).toBeLessThanOrEqual(foldersAbove);
    const sourceTrees = (await listSnapshots(repository)).map(({ tree }) => sourceTreeOf(repository, tree));
    expect(new Set(await Promise.all(sourceTrees))).toEqual(new Set([await sourceTreeOf(repository, first.treeId)]));
    // Its change detection works on our snapshot, and ours on its.
    expect(await backupWithRestic(restic, path, ['--parent', first.snapshotId])).toMatchObject({ files_unmodified: fileCount });
    const again = await archiveSource(repository, (await listSnapshots(repository)).at(-1));
    expect(again.summary).toMatchObject({ filesUnmodified: fileCount, dataBlobs: 0 });
    expect(again.summary.dirsUnmodified).toBeGreaterThanOrEqual(5);
    await expectClean(repository);
  });

  it('what it writes is checked, restored, extended and pruned by us', async () => {
    const path = newPath('theirs');
    await restic.run(path, ['init']);
    await backupWithRestic(restic, path);
    await using repository = await openAt(path);
    await expectClean(repository);
    const [theirs] = await listSnapshots(repository);
    await expectRestored(repository, theirs?.id ?? '');

    const ours = await archiveSource(repository);
    expect(ours.summary).toMatchObject({ filesNew: fileCount, dataBlobs: 0 });
    expect(await sourceTreeOf(repository, ours.treeId)).toBe(await sourceTreeOf(repository, theirs?.tree ?? ''));

    const waste = `${source}/waste`;
    await writeFile(
      waste,
      Buffer.alloc(2_000_000, 'waste').map((byte, at) => byte ^ (at >> 8)),
    );
    await backupWithRestic(restic, path);
    await rm(waste);
    await archiveSource(repository);
    const snapshots = await listSnapshots(repository);
    await forget({ repository, snapshotIds: snapshots.slice(0, -1).map(({ id }) => id) });
    const { bytesFreed } = await prune({ repository, maxUnusedPercent: 0 });
    expect(bytesFreed).toBeGreaterThan(0);
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
    await expectClean(repository);
    await expectRestored(repository, snapshots.at(-1)?.id ?? '');
  });

  it('its forget and prune leave our repository whole', async () => {
    const path = newPath('ours');
    await using repository = await createAt(path);
    const passing = `${source}/passing`;
    await writeFile(passing, 'x'.repeat(100_000));
    await appendFile(passing, Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * at) >> 3)));
    await archiveSource(repository);
    await rm(passing);
    const last = await archiveSource(repository);
    await restic.run(path, ['forget', '--keep-last', '1', '--prune', '--max-unused', '0']);
    expect((await listSnapshots(repository)).map(({ id }) => id)).toEqual([last.snapshotId]);
    expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
    await expectClean(repository);
    await expectRestored(repository, last.snapshotId);
  });

  it('its locks and ours exclude each other', async () => {
    const path = newPath('ours');
    await using repository = await createAt(path);
    await archiveSource(repository);
    const exclusive = await acquireLock(repository, { exclusive: true });
    await expect(restic.run(path, ['backup', source])).rejects.toThrow('locked exclusively');
    await exclusive.release();
    const shared = await acquireLock(repository, { exclusive: false });
    await expect(restic.run(path, ['prune'])).rejects.toThrow(`locked by PID ${process.pid}`);
    await restic.run(path, ['backup', source]);
    await shared.release();
    expect(await restic.run(path, ['list', 'locks', '--no-lock'])).toBe('');
  });
});

const emptyPasswordReaders = found.filter(({ version }) => Number(version.split('.')[1]) >= 17);
describe.each(emptyPasswordReaders)('an empty password with $name ($version)', (restic) => {
  it('opens with --insecure-no-password', async () => {
    const path = newPath('open');
    await using repository = await createAt(path, '');
    await archiveSource(repository);
    expect(await restic.run(path, ['check', '--insecure-no-password'], { password: '' })).toContain('no errors were found');
  });
});
