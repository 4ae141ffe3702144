import { openDiskCache } from '@holdfast/storage/cache/disk-cache';
import { openStorage } from '@holdfast/storage/open-storage';
import type { Storage } from '@holdfast/storage/storage';
import { openFaultyStorage } from '@holdfast/storage/testing/faulty-storage';
import { startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { openCachingStorage } from '@holdfast/storage/wrappers/caching-storage';
import type { MeteredCall } from '@holdfast/storage/wrappers/metering-storage';
import { mkdtemp, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { check } from './checker.ts';
import { createRepository } from './create-repository.ts';
import { loadIndex } from './load-index.ts';
import { openRepository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import type { MemoryFolder } from './testing/memory-source.ts';
import {
  archiveTree,
  cheapKdf as kdf,
  expectedContents,
  impatientClock,
  restoredContents,
  restoreTree,
  text,
} from './testing/test-repository.ts';

const password = 'secret';
const backupCount = 4;

/** What one process did at the server. */
interface Asked {
  readonly calls: MeteredCall[];
  readonly names: string[];
}

describe.each(['sftp', 's3'] as const)('a repository at a server of kind %s, with a cache on the disk', (kind) => {
  let place: RemotePlace;
  let folder = '';
  let last = '';
  beforeAll(async () => {
    place = await startRemotePlace(kind);
    await using repository = await createRepository({ storage: await openServer(), password, hostname: 'host', username: 'ann', kdf });
    for (let round = 1; round <= backupCount; round++) last = (await archiveTree(repository, treeOf(round))).snapshotId;
  });
  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/holdfast-cached-`);
    return () => rm(folder, { recursive: true });
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  const openServer = (onCall?: (call: MeteredCall) => void): Promise<Storage> =>
    openStorage(place.options(), {
      checkPath: (path) => Promise.resolve(path),
      checkServer: () => undefined,
      credentials: () => Promise.resolve(place.credentials()),
      allowAmbientCredentials: false,
      ...(onCall === undefined ? {} : { onCall }),
    });

  /** Does it as a new process would: with nothing in memory and what the disk has. Tells what it asked the server for. */
  async function inNewProcess(work: (open: Awaited<ReturnType<typeof openRepository>>) => Promise<void>, { reads = true } = {}) {
    const calls: MeteredCall[] = [];
    const server = openFaultyStorage(await openServer((call) => void calls.push(call)), () => undefined);
    const cache = openDiskCache({ folder, maxBytes: 64 * 1024 * 1024 });
    await using repository = await openRepository({ storage: openCachingStorage(server, { place: cache.place(kind), reads }), password });
    await work(repository);
    const names = server.operations.filter((operation) => operation.kind === 'get').map((operation) => operation.name);
    return { asked: { calls, names }, counts: cache.counts() };
  }

  const useAll = (tree: MemoryFolder) => async (repository: Awaited<ReturnType<typeof openRepository>>) => {
    const snapshots = await listSnapshots(repository);
    expect(snapshots.length).toBeGreaterThanOrEqual(backupCount);
    const parent = snapshots.find((snapshot) => snapshot.id === last);
    if (parent === undefined) throw new Error('the last snapshot is not listed');
    const backup = await archiveTree(repository, tree, { parent });
    expect(restoredContents(await restoreTree(repository, backup.snapshotId))).toEqual(expectedContents(tree));
    expect(restoredContents(await restoreTree(repository, last))).toEqual(expectedContents(treeOf(backupCount)));
  };

  it('is listed, backed up to and restored by a second process without its index and trees being read again', async () => {
    const treePacks = await treePacksOf();
    const first = await inNewProcess(useAll(treeOf(backupCount)));
    expect(gets(first.asked, 'index/').length).toBeGreaterThanOrEqual(backupCount);
    expect(gets(first.asked, 'snapshots/').length).toBeGreaterThanOrEqual(backupCount);
    expect(first.asked.names.filter((name) => treePacks.has(name)).length).toBeGreaterThan(0);

    const second = await inNewProcess(useAll(treeOf(backupCount)));
    expect(gets(second.asked, 'index/')).toEqual([]);
    // The one that is restored without a listing: it might have been forgotten by somebody else.
    expect(new Set(gets(second.asked, 'snapshots/')).size).toBeLessThanOrEqual(2);
    expect(second.asked.names.filter((name) => treePacks.has(name))).toEqual([]);
    expect(second.counts).toMatchObject({ damaged: 0, failures: 0 });
    const [before, after] = [first, second].map(({ asked }) => asked.calls.filter(({ operation }) => operation === 'get').length);
    process.stdout.write(`${kind}: ${String(before)} gets in the first process, ${String(after)} in the second\n`);
    expect(after).toBeLessThan(before ?? 0);
  });

  it.each(['flipped', 'cut', 'swapped'])('comes out right when the files on the disk are %s', async (damage) => {
    await inNewProcess(useAll(treeOf(backupCount)));
    const files = await cacheFiles(folder);
    for (const [nth, file] of files.entries()) {
      if (damage === 'flipped')
        await writeFile(
          file,
          (await readFile(file)).map((byte, at) => (at === 70 ? byte ^ 4 : byte)),
        );
      if (damage === 'cut') await truncate(file, Math.floor((await stat(file)).size / 2));
      const other = files[nth + 1];
      if (damage !== 'swapped' || nth % 2 === 1 || other === undefined) continue;
      await rename(file, join(folder, 'aside'));
      await rename(other, file);
      await rename(join(folder, 'aside'), other);
    }
    const { counts } = await inNewProcess(useAll(treeOf(backupCount)));
    expect(counts.damaged).toBeGreaterThan(backupCount);
    const { asked, counts: healed } = await inNewProcess(useAll(treeOf(backupCount)));
    expect(healed.damaged).toBe(0);
    expect(gets(asked, 'index/')).toEqual([]);
  });

  it('is checked as it lies at the server', async () => {
    await inNewProcess(useAll(treeOf(backupCount)));
    const [treePack = ''] = await treePacksOf();
    const server = await openServer();
    const bytes = await server.get(treePack);
    await server.delete(treePack);
    await server.put(
      treePack,
      bytes.map((byte) => byte ^ 1),
    );
    try {
      const checked = async (reads: boolean): Promise<number> => {
        let findings = 0;
        await inNewProcess(
          async (repository) => {
            findings = (await check({ repository, level: 'integrity', clock: impatientClock })).findings.length;
          },
          { reads },
        );
        return findings;
      };
      expect(await checked(true)).toBe(0);
      expect(await checked(false)).toBeGreaterThan(0);
    } finally {
      await server.delete(treePack);
      await server.put(treePack, bytes);
      await server.close();
    }
  });

  async function treePacksOf(): Promise<Set<string>> {
    const packs = new Set<string>();
    await using repository = await openRepository({ storage: await openServer(), password });
    const { index } = await loadIndex(repository);
    for (const { tree } of await listSnapshots(repository)) {
      const packId = index.lookup('tree', tree)?.packId ?? '';
      packs.add(`data/${packId.slice(0, 2)}/${packId}`);
    }
    return packs;
  }
});

function gets({ names }: Asked, prefix: string): string[] {
  return names.filter((name) => name.startsWith(prefix));
}

function treeOf(round: number): MemoryFolder {
  return { [`only ${String(round)}`]: text(`content ${String(round)}`), folder: { type: 'dir', entries: { same: text('the same') } } };
}

async function cacheFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
