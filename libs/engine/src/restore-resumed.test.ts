import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { execFile } from 'node:child_process';
import { lstat, mkdtemp, readdir, readFile, realpath, rm, stat, truncate, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { restore, type RestoreResult } from './restorer.ts';
import type { MemoryEntry, MemoryFolder } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise } from './testing/test-repository.ts';

const killed = promisify(execFile);

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(`${tmpdir()}/holdfast-resumed-`));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const modifiedNs = 1_700_000_000_123_456_789n;
const file = (bytes: Uint8Array): MemoryEntry => ({ type: 'file', bytes, modifiedNs });
const folderOf = (nth: number): MemoryEntry => ({
  type: 'dir',
  entries: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`file-${at}`, file(noise(20_000 + at, nth * 100 + at))])),
});
const tree: MemoryFolder = {
  data: {
    type: 'dir',
    entries: {
      large: file(noise(12_000_000, 1)),
      larger: file(noise(20_000_000, 2)),
      ...Object.fromEntries(Array.from({ length: 30 }, (_, nth) => [`folder-${nth}`, folderOf(nth)])),
    },
  },
};
const totalBytes = 32_000_000 + 30 * 40 * 20_000 + 30 * ((39 * 40) / 2);

/** Files that have the modification time that they are to have, with their inodes. */
async function wholeFiles(path: string): Promise<Map<string, { inode: bigint; sizeBytes: number }>> {
  const whole = new Map<string, { inode: bigint; sizeBytes: number }>();
  for (const name of await readdir(path, { recursive: true })) {
    const found = await lstat(`${path}/${name}`, { bigint: true });
    if (found.isFile() && found.mtimeNs / 1000n === modifiedNs / 1000n)
      whole.set(name, { inode: found.ino, sizeBytes: Number(found.size) });
  }
  return whole;
}

it('a recovery that was killed goes on: what was whole stays, what was not is written again', async () => {
  const [repositoryPath, path] = [await scratch(), await scratch()];
  const repository = await createTestRepository(await openLocalStorage({ path: repositoryPath }));
  const { snapshotId } = await archiveTree(repository, tree);
  const script = new URL('testing/killed-restore.ts', import.meta.url).pathname;
  const running = killed(process.execPath, [script, repositoryPath, snapshotId, path]);
  await expect(running).rejects.toMatchObject({ signal: 'SIGKILL' });

  const before = await wholeFiles(path);
  const keptBytes = [...before.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  expect(keptBytes).toBeGreaterThan(0);
  expect(keptBytes).toBeLessThan(totalBytes);
  // And one that the kill has left half written, should it have left none.
  const [half = ''] = before.keys();
  await truncate(`${path}/${half}`, 100);
  await utimes(`${path}/${half}`, 5, 5);
  const halfBytes = before.get(half)?.sizeBytes ?? 0;
  before.delete(half);

  const restoreAgain = async (): Promise<RestoreResult> => {
    const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
    return await restore({ repository, snapshotId, target, clock, overwrite: 'if-changed' });
  };
  const result = await restoreAgain();
  expect(result).toMatchObject({ bytesRestored: totalBytes - keptBytes + halfBytes, keptCount: before.size, failed: [] });
  const after = await wholeFiles(path);
  expect(after.size).toBe(30 * 40 + 2);
  for (const [name, { inode }] of before) expect(after.get(name)?.inode).toBe(inode);
  expect(await readFile(`${path}/data/larger`)).toEqual(Buffer.from(noise(20_000_000, 2)));
  expect(await readFile(`${path}/data/folder-29/file-39`)).toEqual(Buffer.from(noise(20_039, 2939)));
  expect((await stat(`${path}/${half}`)).size).toBe(halfBytes);
  expect(await restoreAgain()).toMatchObject({ bytesRestored: 0, filesRestored: 0, keptCount: 30 * 40 + 2 });
});

it('a recovery that was to keep what it finds, and was killed, has left nothing half written to be kept', async () => {
  const [repositoryPath, path] = [await scratch(), await scratch()];
  const repository = await createTestRepository(await openLocalStorage({ path: repositoryPath }));
  const { snapshotId } = await archiveTree(repository, tree);
  const script = new URL('testing/killed-restore.ts', import.meta.url).pathname;
  const running = killed(process.execPath, [script, repositoryPath, snapshotId, path, 'never']);
  await expect(running).rejects.toMatchObject({ signal: 'SIGKILL' });

  const before = await wholeFiles(path);
  const files: string[] = [];
  for (const name of await readdir(path, { recursive: true })) if ((await lstat(`${path}/${name}`)).isFile()) files.push(name);
  const isPartial = (name: string): boolean => name.includes('.holdfast-partial-');
  expect(files.filter((name) => !before.has(name)).every(isPartial)).toBe(true);

  const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
  const result = await restore({ repository, snapshotId, target, clock, overwrite: 'never' });
  const placed = [...before.keys()].filter((name) => !isPartial(name));
  expect(result).toMatchObject({ keptCount: placed.length, filesRestored: 30 * 40 + 2 - placed.length, failed: [] });
  const after = await wholeFiles(path);
  expect(after.size).toBe(30 * 40 + 2);
  expect([...after.keys()].some(isPartial)).toBe(false);
  expect((await lstat(`${path}/data/folder-0`)).mode & 0o777).toBe(0o744);
});
