import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import type { Source } from '@holdfast/sources/source';
import { loadSystemCalls } from '@holdfast/sources/system-calls';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive, type ArchiveOptions } from './archiver.ts';
import { createBlobLoader } from './blob-loader.ts';
import { loadIndex } from './load-index.ts';
import { listSnapshots } from './snapshots.ts';
import { createTestRepository, impatientClock as clock, noise, openTestRepository } from './testing/test-repository.ts';

/** Extended attributes of files are read by whoever opens them to store them: in this thread, in others, small files and large ones. */
let root = '';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-attributes-'));
  await writeFile(join(root, 'small'), 'small');
  await writeFile(join(root, 'empty'), '');
  await writeFile(join(root, 'plain'), 'has none');
  await writeFile(join(root, 'middle'), noise(100_000, 1));
  await writeFile(join(root, 'cut'), noise(3_000_000, 2));
  await mkdir(join(root, 'folder'));
  for (const name of ['small', 'empty', 'middle', 'cut', 'folder'])
    loadSystemCalls()?.setAttribute(join(root, name), 'user.name', Buffer.from(name));
});

afterAll(async () => rm(root, { recursive: true }));

const sourceOf = (): Promise<Source> => openFileSystemSource({ paths: [root], roots: ['/'] });

/** Shows what the file system shows, with all attributes read on listing. */
async function readAtOnce(): Promise<Source> {
  const source = await sourceOf();
  return {
    paths: source.paths,
    ...(source.threadOptions === undefined ? {} : { threadOptions: source.threadOptions }),
    readDirectory: (path, options = {}) => source.readDirectory(path, { ...options, leavesFileAttributes: false }),
    openFile: (path) => source.openFile(path),
    close: () => source.close(),
  };
}

async function nodesOf(storage: Storage, topId: string): Promise<unknown[]> {
  const repository = await openTestRepository(storage);
  const loader = createBlobLoader(repository, (await loadIndex(repository)).index);
  let treeId: string | undefined = topId;
  for (const name of root.split('/').slice(1)) {
    if (treeId !== undefined) treeId = (await loader.loadTree(treeId)).find((node) => node.name === name)?.subtree;
  }
  return treeId === undefined ? [] : [...(await loader.loadTree(treeId))];
}

async function backUp(storage: Storage, source: Source, options: Partial<ArchiveOptions> = {}) {
  const repository = await openTestRepository(storage);
  return await archive({ repository, source, hostname: 'host', username: 'ann', clock, ...options });
}

describe.each([
  ['with threads at hand', 2],
  ['without threads', 0],
])('%s', (_name, concurrency) => {
  it('files get the attributes that a listing would have shown', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const [late, early] = [
      await backUp(storage, await sourceOf(), { concurrency }),
      await backUp(storage, await readAtOnce(), { concurrency }),
    ];
    const nodes = await nodesOf(storage, late.treeId);
    expect(nodes).toHaveLength(6);
    expect(nodes).toEqual(await nodesOf(storage, early.treeId));
    const withAttributes = nodes.filter((node) => typeof node === 'object' && node !== null && 'extendedAttributes' in node);
    expect(withAttributes).toHaveLength(loadSystemCalls() === undefined ? 0 : 5);
    expect(late.skipped).toEqual([]);
  });

  it('files that have not changed keep theirs', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const first = await backUp(storage, await sourceOf(), { concurrency });
    const [parent] = await listSnapshots(await openTestRepository(storage));
    const second = await backUp(storage, await sourceOf(), { concurrency, ...(parent === undefined ? {} : { parent }) });
    expect(second.summary.filesUnmodified).toBe(5);
    expect(await nodesOf(storage, second.treeId)).toEqual(await nodesOf(storage, first.treeId));
  });
});

it('files of which many are stored by threads get theirs', async () => {
  const folder = join(root, 'folder');
  for (let nth = 0; nth < 600; nth++) await writeFile(join(folder, `file-${nth}`), `content of ${nth}`);
  for (const nth of [0, 300, 599]) loadSystemCalls()?.setAttribute(join(folder, `file-${nth}`), 'user.nth', Buffer.from(`${nth}`));
  const storage = openMemoryStorage();
  await createTestRepository(storage);
  const late = await backUp(storage, await sourceOf(), { concurrency: 2 });
  const early = await backUp(storage, await readAtOnce(), { concurrency: 2 });
  expect(await nodesOf(storage, late.treeId)).toEqual(await nodesOf(storage, early.treeId));
});
