import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import type { Source } from '@holdfast/sources/source';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { faultAt, openFaultyStorage, type Fault } from '@holdfast/storage/testing/faulty-storage';
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { archive, type ArchiveOptions } from '../archiver.ts';
import { createBlobLoader } from '../blob-loader.ts';
import { check } from '../checker.ts';
import { loadIndex } from '../load-index.ts';
import { currentHolder } from '../lock-holder.ts';
import { listSnapshots } from '../snapshots.ts';
import { createTestRepository, impatientClock as clock, noise, openTestRepository, restoreTree } from '../testing/test-repository.ts';
import { openThreadPool } from '../threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
let root = '';

/** More than what goes without threads: many small files, and some that are cut. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-threads-'));
  await mkdir(join(root, 'small'));
  for (let nth = 0; nth < 400; nth++) await writeFile(join(root, 'small', `file-${nth}`), `content of ${nth % 350}`);
  await writeFile(join(root, 'large'), noise(30_000_000, 1));
  await writeFile(join(root, 'copy'), noise(30_000_000, 1));
  await writeFile(join(root, 'text'), 'insert into t values (1, 2, 3);\n'.repeat(100_000));
  await writeFile(join(root, 'empty'), '');
});

afterAll(async () => {
  await pool.close();
  await rm(root, { recursive: true });
});

const sourceOf = (path = root): Promise<Source> => openFileSystemSource({ paths: [path], roots: ['/'] });

async function run(storage: Storage, options: Partial<ArchiveOptions> = {}) {
  const repository = await openTestRepository(storage);
  return await archive({ repository, source: await sourceOf(), hostname: 'host', username: 'ann', clock, pool, ...options });
}

async function localStorage(): Promise<Storage> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-threads-repository-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return await openLocalStorage({ path });
}

/** The tree of the source itself: the folders above it, such as /tmp, are others' and change while the test runs. */
async function sourceTreeId(storage: Storage, topId: string): Promise<string | undefined> {
  const repository = await openTestRepository(storage);
  const loader = createBlobLoader(repository, (await loadIndex(repository)).index);
  let treeId: string | undefined = topId;
  for (const name of root.split('/').slice(1)) {
    if (treeId === undefined) return undefined;
    treeId = (await loader.loadTree(treeId)).find((node) => node.name === name)?.subtree;
  }
  return treeId;
}

async function expectClean(storage: Storage): Promise<void> {
  const { findings } = await check({ repository: await openTestRepository(storage), level: 'checksum', clock });
  expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

describe.each([
  ['threads write into the storage', localStorage],
  ['threads hand packs over', async () => openMemoryStorage()],
])('a backup in which %s', (_name, makeStorage) => {
  it('stores what a backup without threads stores', async () => {
    const [storage, other] = [await makeStorage(), openMemoryStorage()];
    await createTestRepository(storage);
    for await (const { name } of storage.list('')) await other.put(name, await storage.get(name));
    const threaded = await run(storage);
    const single = await run(other, { concurrency: 0 });
    expect(await sourceTreeId(storage, threaded.treeId)).toBe(await sourceTreeId(other, single.treeId));
    expect(threaded.skipped).toEqual([]);
    const { dataBlobs, treeBlobs, dataAdded, totalFilesProcessed } = single.summary;
    expect(threaded.summary).toMatchObject({ dataBlobs, treeBlobs, totalFilesProcessed });
    // The times of the folders above, which others change, are longer or shorter by their trailing zeros.
    expect(Math.abs(threaded.summary.dataAdded - dataAdded)).toBeLessThan(64);
    await expectClean(storage);
    const restored = await restoreTree(await openTestRepository(storage), threaded.snapshotId);
    const large = [...restored.entries].find(([path]) => path.endsWith('/large'))?.[1].bytes;
    expect(Buffer.compare(large ?? new Uint8Array(), noise(30_000_000, 1))).toBe(0);
  });

  it('ends within a second when aborted, and leaves no snapshot and nothing half written', async () => {
    const storage = await makeStorage();
    await createTestRepository(storage);
    const abort = new AbortController();
    let abortedAt = 0;
    const onProgress: ArchiveOptions['onProgress'] = ({ bytesDone }) => {
      if (bytesDone < 5_000_000 || abortedAt > 0) return;
      abortedAt = performance.now();
      abort.abort(new Error('enough'));
    };
    await expect(run(storage, { signal: abort.signal, onProgress })).rejects.toThrow('enough');
    expect(performance.now() - abortedAt).toBeLessThan(1000);
    expect(await listSnapshots(await openTestRepository(storage))).toEqual([]);
    if (storage.threadOptions !== undefined) {
      const left = await readdir(storage.threadOptions.path, { recursive: true });
      expect(left.filter((name) => name.includes('.tmp-'))).toEqual([]);
    }
    // The threads are good for the next one.
    await run(storage);
    await expectClean(storage);
  });
});

describe('a backup in threads', () => {
  it('lists files that have vanished, and goes on', async () => {
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    const real = await sourceOf();
    const source: Source = {
      paths: real.paths,
      ...(real.threadOptions === undefined ? {} : { threadOptions: real.threadOptions }),
      openFile: (path) => real.openFile(path),
      close: () => real.close(),
      async readDirectory(path, options) {
        const entries = await real.readDirectory(path, options);
        return entries.flatMap((entry) => {
          if (entry.kind === 'skipped' || !/^(file-7|large)$/.test(entry.node.name)) return [entry];
          return [entry, { ...entry, node: { ...entry.node, name: `${entry.node.name}-gone` } }].toSorted((a, b) =>
            a.node.name < b.node.name ? -1 : 1,
          );
        });
      },
    };
    const { skipped, summary } = await run(storage, { source });
    expect(skipped.map(({ path }) => path).toSorted()).toEqual([`${root}/large-gone`, `${root}/small/file-7-gone`]);
    expect(summary.totalFilesProcessed).toBe(404);
    await expectClean(storage);
  });

  it('stores a file that shrinks while it is read as it is then', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-shrinking-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'log'), noise(60_000_000, 3));
    const storage = openMemoryStorage();
    await createTestRepository(storage);
    let hasShrunk = false;
    const result = await run(storage, {
      source: await sourceOf(folder),
      onProgress: ({ bytesDone }) => {
        if (hasShrunk || bytesDone === 0) return;
        hasShrunk = true;
        void truncate(join(folder, 'log'), 1000);
      },
    });
    expect(hasShrunk).toBe(true);
    await expectClean(storage);
    const restored = await restoreTree(await openTestRepository(storage), result.snapshotId);
    const { node, bytes = new Uint8Array() } = restored.entries.get(`${folder}/log`) ?? {};
    expect(node?.sizeBytes).toBe(bytes.length);
    expect(Buffer.compare(bytes, noise(60_000_000, 3).subarray(0, bytes.length))).toBe(0);
  });

  it('leaves the repository whole, whatever operation fails', async () => {
    const base = openMemoryStorage();
    await createTestRepository(base);
    const holder = { ...currentHolder(), pid: 2 ** 22 + 7 };
    for (let number = 1, isBeyondEnd = false; !isBeyondEnd; number++) {
      for (const fault of ['before', 'crash-after'] satisfies Fault[]) {
        const storage = openMemoryStorage();
        for await (const { name } of base.list('')) await storage.put(name, await base.get(name));
        const faulty = openFaultyStorage(storage, faultAt(number, fault));
        await run(faulty, { holder }).catch(() => {});
        isBeyondEnd = faulty.operationCount < number;
        await expectClean(storage);
      }
    }
    const { snapshotId } = await run(base);
    expect((await listSnapshots(await openTestRepository(base))).map(({ id }) => id)).toEqual([snapshotId]);
  }, 120_000);
});
