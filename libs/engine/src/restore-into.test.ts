import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { loadIndex } from './load-index.ts';
import type { Repository } from './repository.ts';
import { restore, type RestoreOptions, type RestoreResult } from './restorer.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import { describeRealTree, makeRealTree } from './testing/real-tree.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';
import { openThreadPool } from './threads/thread-pool.ts';

const pool = openThreadPool({ concurrency: 2 });
let source = '';

beforeAll(async () => {
  source = await realpath(await mkdtemp(`${tmpdir()}/holdfast-restore-source-`));
  await makeRealTree(source);
});
afterAll(async () => {
  await pool.close();
  await rm(source, { recursive: true });
});

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(`${tmpdir()}/holdfast-restore-`));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const storages = {
  local: async () => openLocalStorage({ path: await scratch() }),
  memory: async () => openMemoryStorage(),
};

async function restoreTo(
  path: string,
  repository: Repository,
  snapshotId: string,
  options: Partial<RestoreOptions> = {},
): Promise<RestoreResult> {
  const target = openFileSystemTarget({ path, roots: [path], overwrite: false });
  return await restore({ repository, snapshotId, target, clock, ...options });
}

async function flip(storage: Storage, name: string, at: number): Promise<void> {
  const bytes = Buffer.from(await storage.get(name));
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  await storage.delete(name);
  await storage.put(name, bytes);
}

describe.each([
  ['by threads that read', 'local', { pool }],
  ['by threads that are brought what they need', 'memory', { pool }],
  ['in one thread', 'local', {}],
  ['in one thread, from memory', 'memory', {}],
] as const)('a recovery into a folder %s', (_name, kind, threads) => {
  it('gives the same tree: contents, links, modes, times to the nanosecond', async () => {
    const repository = await createTestRepository(await storages[kind]());
    const from = await openFileSystemSource({ paths: [source], roots: [source] });
    const { snapshotId } = await archiveTree(repository, {}, { source: from });
    await from.close();
    const path = await scratch();
    const result = await restoreTo(path, repository, snapshotId, threads);
    expect(result).toMatchObject({ failed: [], hardLinksRestored: 2 });
    expect(await describeRealTree(path + source)).toEqual(await describeRealTree(source));
    const total = (await stat(`${source}/random.bin`)).size + (await stat(`${source}/text.sql`)).size;
    expect(result.bytesRestored).toBeGreaterThan(total);
  });

  it('fails the files that damage hits, whole and in parts, and restores the others', async () => {
    const storage = await storages[kind]();
    const repository = await createTestRepository(storage);
    // Longer than any chunk, so in parts wherever the repository's polynomial cuts it.
    const big = noise(9_000_000, 1);
    const tree: MemoryFolder = {
      data: {
        type: 'dir',
        entries: {
          big: { type: 'file', bytes: big },
          linked: { type: 'file', bytes: Buffer.from('one'), inode: 5n, linkCount: 2n },
          other: { type: 'file', bytes: Buffer.from('one'), inode: 5n, linkCount: 2n },
          small: text('small'),
        },
      },
    };
    const { snapshotId } = await archiveTree(repository, tree);
    const { index } = await loadIndex(repository);
    const blobs = Array.from({ length: index.entryCount }, (_, entry) => index.at(entry)).filter(({ type }) => type === 'data');
    for (const blob of blobs.filter(({ length }) => length > 1000 || length < 37)) {
      await flip(storage, `data/${blob.packId.slice(0, 2)}/${blob.packId}`, blob.offset + 20);
    }
    const path = await scratch();
    const { failed, filesRestored, hardLinksRestored } = await restoreTo(path, repository, snapshotId, threads);
    expect(failed.map((one) => one.path).toSorted()).toEqual(['/data/big', '/data/linked', '/data/other']);
    expect({ filesRestored, hardLinksRestored }).toEqual({ filesRestored: 1, hardLinksRestored: 0 });
    expect((await readdir(`${path}/data`)).toSorted()).toEqual(['big', 'small']);

    for (const { packId } of blobs) await storage.delete(`data/${packId.slice(0, 2)}/${packId}`);
    const lost = await restoreTo(await scratch(), repository, snapshotId, threads);
    expect(lost.failedCount).toBe(4);
  });

  it('removes what is not whole when it is aborted, within a second', async () => {
    const repository = await createTestRepository(await storages[kind]());
    const { snapshotId } = await archiveTree(repository, {
      data: { type: 'dir', entries: { big: { type: 'file', bytes: noise(9e6, 2) } } },
    });
    const path = await scratch();
    const abort = new AbortController();
    let abortedAt = 0;
    const target = openFileSystemTarget({ path, roots: [path], overwrite: false });
    const makeDirectory = { ...target, open: () => target.open(), close: () => target.close() };
    const running = restore({
      repository,
      snapshotId,
      clock,
      signal: abort.signal,
      ...threads,
      target: {
        ...makeDirectory,
        get threadOptions() {
          abortedAt = performance.now();
          queueMicrotask(() => abort.abort(new Error('enough')));
          return target.threadOptions;
        },
        get warnings() {
          return target.warnings;
        },
      },
    });
    await expect(running).rejects.toThrow('enough');
    expect(performance.now() - abortedAt).toBeLessThan(1000);
    expect(await readdir(path, { recursive: true })).not.toContain('data/big');
  });
});
