import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Source } from '@holdfast/sources/source';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { appendFile, chmod, mkdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { check } from '../checker.ts';
import { forget } from '../forget.ts';
import { prune } from '../pruner.ts';
import { listSnapshots } from '../snapshots.ts';
import { makeCachedBackups, type CachedBackups } from '../testing/cached-backups.ts';
import { impatientClock } from '../testing/test-repository.ts';
import { decodeStatCache } from './stat-cache-file.ts';
import type { ComparedCache } from './stat-cache.ts';

let backups: CachedBackups;

beforeEach(async () => {
  backups = await makeCachedBackups();
  onTestFinished(() => backups[Symbol.asyncDispose]());
  for (const folder of ['a/b/c', 'd', 'empty']) await mkdir(join(backups.root, folder), { recursive: true });
  for (const name of ['top', 'a/one', 'a/two', 'a/b/three', 'a/b/c/four', 'd/five'])
    await writeFile(join(backups.root, name), `this is ${name}`);
});

/** Backs up with the cache, then without, and expects the same. */
async function expectSame(): Promise<void> {
  const cached = await backups.backUp();
  const plain = await backups.backUp({ isCached: false });
  const whole = await backups.backUp({ isCached: false, isFirst: true });
  const treeId = await backups.rootTreeId(cached);
  expect(treeId).toBe(await backups.rootTreeId(plain));
  expect(treeId).toBe(await backups.rootTreeId(whole));
  expect(cached.summary.totalFilesProcessed).toBe(whole.summary.totalFilesProcessed);
  expect(cached.summary.totalBytesProcessed).toBe(whole.summary.totalBytesProcessed);
}

async function expectClean(): Promise<void> {
  const { findings } = await check({ repository: backups.repository, level: 'full', clock: impatientClock });
  expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

const belowRoot = (paths: readonly string[]): string[] =>
  paths.filter((path) => path.startsWith(backups.root)).map((path) => path.slice(backups.root.length));

describe('a backup with a stat cache', () => {
  it('lists no folder and reads nothing of the repository when nothing has changed', async () => {
    const first = await backups.backUp();
    backups.listed.length = 0;
    backups.reads.length = 0;
    const second = await backups.backUp();
    expect(belowRoot(backups.listed)).toEqual([]);
    // The folders above are others' and may have changed.
    if (second.treeId === first.treeId) expect(backups.reads.filter((name) => /^(data|index)\//.test(name))).toEqual([]);
    expect(second.summary).toMatchObject({ filesNew: 0, filesChanged: 0, filesUnmodified: 6, totalFilesProcessed: 6 });
    expect(second.summary.totalBytesProcessed).toBe(first.summary.totalBytesProcessed);
    expect(await backups.rootTreeId(second)).toBe(await backups.rootTreeId(first));
    await expectClean();
  });

  it('looks only at what has changed', async () => {
    await backups.backUp();
    await writeFile(join(backups.root, 'a/b/three'), 'other words');
    backups.listed.length = 0;
    const { summary } = await backups.backUp();
    expect(belowRoot(backups.listed)).toEqual(['/a/b']);
    expect(summary).toMatchObject({ filesNew: 0, filesChanged: 1, filesUnmodified: 5, totalFilesProcessed: 6 });
    await expectSame();
    await expectClean();
  });

  it('lists a folder anew in which there are other names, and of those below only what has changed', async () => {
    await backups.backUp();
    await rename(join(backups.root, 'a/one'), join(backups.root, 'a/other'));
    await writeFile(join(backups.root, 'a/b/c/new'), 'new');
    backups.listed.length = 0;
    await backups.backUp();
    // Beside them the folders that they are in, of which only the entry of the changed one is looked at.
    expect(belowRoot(backups.listed)).toEqual(['', '/a', '/a/b', '/a/b/c']);
    await expectSame();
  });

  it('sees other content of the same size and times', async () => {
    const path = join(backups.root, 'd/five');
    await utimes(path, 1_000_000, 1_000_000);
    await backups.backUp();
    await writeFile(path, 'this is d/FIVE');
    await utimes(path, 1_000_000, 1_000_000);
    expect((await backups.backUp()).summary.filesChanged).toBe(1);
    await expectSame();
  });

  it('keeps the tree of a folder whose own mode has changed', async () => {
    await backups.backUp();
    await chmod(join(backups.root, 'a'), 0o700);
    backups.listed.length = 0;
    await backups.backUp();
    expect(belowRoot(backups.listed)).toEqual(['']);
    await expectSame();
  });

  it('looks again at what was written as it was looked at', async () => {
    const now = { ...impatientClock, now: () => new Date() };
    await writeFile(join(backups.root, 'd/five'), 'at this moment');
    await backups.backUp({ clock: now });
    backups.listed.length = 0;
    await backups.backUp({ clock: now });
    expect(belowRoot(backups.listed)).toContain('/d');
    await expectSame();
  });

  it('looks again at what grew while it was read', async () => {
    const growing = (source: Source): Source => ({
      ...source,
      openFile: async (path) => {
        if (path.endsWith('/five')) await appendFile(path, ' and more');
        return await source.openFile(path);
      },
    });
    await backups.backUp({ wrap: growing, more: { concurrency: 0 } });
    backups.listed.length = 0;
    await backups.backUp();
    expect(belowRoot(backups.listed)).toEqual(['/d']);
    await expectSame();
  });

  it('reports each time what cannot be read', async () => {
    const denying = (source: Source): Source => ({
      ...source,
      openFile: async (path) => {
        if (path.endsWith('/three')) throw new HoldfastError('path_not_readable', 'denied');
        return await source.openFile(path);
      },
    });
    for (let nth = 0; nth < 3; nth++) {
      const { skipped, summary } = await backups.backUp({ wrap: denying, more: { concurrency: 0 } });
      expect(skipped).toEqual([{ path: join(backups.root, 'a/b/three'), reason: 'denied' }]);
      expect(summary.totalFilesProcessed).toBe(5);
    }
    await expectSame();
  });

  it('does not look at what a pattern leaves out', async () => {
    const rules = { excludes: ['two'] };
    await backups.backUp({ rules });
    await writeFile(join(backups.root, 'a/two'), 'left out all the same');
    backups.listed.length = 0;
    const { summary } = await backups.backUp({ rules });
    expect(belowRoot(backups.listed)).toEqual([]);
    expect(summary.totalFilesProcessed).toBe(5);
    // Other rules have a cache of their own.
    expect((await backups.backUp()).summary.totalFilesProcessed).toBe(6);
  });

  it('lists a folder anew when a file in it that decides on the others has changed', async () => {
    const rules = { excludeCaches: true };
    await writeFile(join(backups.root, 'a/CACHEDIR.TAG'), 'not yet');
    expect((await backups.backUp({ rules })).summary.totalFilesProcessed).toBe(7);
    await writeFile(join(backups.root, 'a/CACHEDIR.TAG'), 'Signature: 8a477f597d28d172789f06886806bc55');
    const cached = await backups.backUp({ rules });
    expect(cached.summary.totalFilesProcessed).toBe(3);
    const whole = await backups.backUp({ rules, isCached: false, isFirst: true });
    expect(await backups.rootTreeId(cached)).toBe(await backups.rootTreeId(whole));
  });

  it('keeps its snapshot when the cache cannot be written', async () => {
    const warnings: string[] = [];
    await backups.backUp();
    const path = await backups.cachePath();
    await rm(path);
    await mkdir(path);
    const { snapshotId } = await backups.backUp({ more: { onWarning: (message) => warnings.push(message) } });
    expect(warnings).toEqual([expect.stringContaining('could not be written')]);
    expect((await listSnapshots(backups.repository)).map(({ id }) => id)).toContain(snapshotId);
  });

  it('takes what was compared before it was asked for, and compares again when that is not fresh or was ended', async () => {
    await backups.backUp();
    const source = await openFileSystemSource({ paths: [backups.root], roots: [backups.root] });
    const opening = Promise.withResolvers<void>();
    const cache = backups.openCache(source, opening.promise);
    opening.resolve();
    // Not the folders above, which others change.
    const isSame = (compared: ComparedCache | null | undefined): boolean | undefined => {
      let folder = compared?.top;
      for (const name of backups.root.split('/').slice(1)) folder = folder?.child(name);
      return folder?.isSame;
    };
    expect(isSame(await cache?.compare())).toBe(true);
    await writeFile(join(backups.root, 'a/one'), 'changed');
    expect(isSame(await cache?.compare())).toBe(false);
    const failing = backups.openCache(source, Promise.reject(new Error('a wrong password')));
    failing?.close();
    failing?.close();
    expect(isSame(await failing?.compare())).toBe(false);
  });
});

describe('a stat cache that is of no use', () => {
  beforeEach(async () => {
    await backups.backUp();
    await writeFile(join(backups.root, 'a/one'), 'changed');
  });

  const looksAtAll = async (): Promise<boolean> => {
    backups.listed.length = 0;
    await backups.backUp();
    return belowRoot(backups.listed).length === 6;
  };

  it.each([
    ['cut short', (bytes: Buffer) => bytes.subarray(0, bytes.length - 40)],
    ['empty', () => Buffer.alloc(0)],
    ['with a byte too many', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['of something else', () => Buffer.from('not a cache at all '.repeat(100))],
    ['of an older version', (bytes: Buffer) => Buffer.concat([Buffer.from('HFSTATS0'), bytes.subarray(8)])],
  ])('%s is as none', async (_, damage) => {
    const path = await backups.cachePath();
    await writeFile(path, damage(await readFile(path)));
    expect(await looksAtAll()).toBe(true);
    await expectSame();
  });

  it('with any bit another is as none', async () => {
    const bytes = await readFile(await backups.cachePath());
    for (let at = 0; at < bytes.length; at += 7) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      expect(decodeStatCache(flipped)).toBeNull();
    }
  });

  it('of another snapshot than the parent is as none', async () => {
    const path = await backups.cachePath();
    const former = await readFile(path);
    await backups.backUp();
    await writeFile(path, former);
    await writeFile(join(backups.root, 'a/one'), 'changed again');
    expect(await looksAtAll()).toBe(true);
    await expectSame();
  });

  it('of another backup is as none', async () => {
    const path = await backups.cachePath();
    await rename(path, `${path}.kept`);
    await backups.backUp({ rules: { excludes: ['two'] }, isFirst: true });
    const other = (await readFile(await backups.cachePath())).subarray();
    await rm(`${path}.kept`);
    await writeFile(path, other);
    await backups.backUp({ isCached: false });
    await expectSame();
  });

  it('is not used when blobs may have been removed since', async () => {
    const [first] = await listSnapshots(backups.repository);
    await backups.backUp();
    await forget({ repository: backups.repository, snapshotIds: [first?.id ?? ''], clock: impatientClock });
    await prune({ repository: backups.repository, clock: impatientClock, maxUnusedPercent: 0 });
    expect(await looksAtAll()).toBe(true);
    await expectSame();
    await expectClean();
    expect(await looksAtAll()).toBe(false);
  });

  it('stores again what somebody has removed together with its index file', async () => {
    await backups.backUp();
    const { storage } = backups.repository;
    for (const prefix of ['index/', 'data/']) for await (const { name } of storage.list(prefix)) await storage.delete(name);
    for (const { id } of await listSnapshots(backups.repository)) if (id !== (await newestId())) await storage.delete(`snapshots/${id}`);
    const lost = await newestId();
    await backups.backUp();
    await storage.delete(`snapshots/${lost}`);
    await expectClean();
  });

  const newestId = async (): Promise<string> => (await listSnapshots(backups.repository)).at(-1)?.id ?? '';
});
