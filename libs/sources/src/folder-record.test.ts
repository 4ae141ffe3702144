import { lstatSync } from 'node:fs';
import { chmod, link, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource } from './file-system-source.ts';
import { openFolderComparison } from './folder-comparison.ts';
import { FolderRecord, leftOut, notTaken, spoiled } from './folder-record.ts';
import { scanFolder } from './folder-scan.ts';
import { changedWord, modeWord, modifiedWord, wordsOfStats, wordsPerStat } from './stat-words.ts';

let root: string;
const longAgoMs = 1_000_000_000_000;
const later = (): number => Date.now() + 60_000;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-record-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, 'folder'));
  for (const name of ['a', 'b', 'ünï', 'folder/inner']) await writeFile(join(root, name), `this is ${name}`);
  await symlink('a', join(root, 'link'));
  await link(join(root, 'a'), join(root, 'second'));
});

async function recordOf(options: { nowMs?: number; excludes?: string[]; excludeLargerThanBytes?: number } = {}): Promise<FolderRecord> {
  const { nowMs = later(), ...rules } = options;
  const record = new FolderRecord(nowMs);
  const source = await openFileSystemSource({ paths: [root], roots: [root], ...rules });
  await source.readDirectory(root, { record });
  return record;
}

it('keeps no memory alive but that of its names', async () => {
  const { names } = await recordOf();
  expect(names?.buffer.byteLength).toBe(names?.length);
});

/** The names that are not what was recorded; null when the folder lists others. */
function changedIn({ names = new Uint8Array(0), stats }: FolderRecord): string[] | null {
  using comparison = openFolderComparison();
  if (comparison === undefined) throw new Error('no comparison');
  for (const name of root.split('/').slice(1)) expect(comparison.enter(Buffer.from(`${name}\0`), 0)).toBe(true);
  if (!comparison.listsAs(names, 0, names.length)) return null;
  const changed: string[] = [];
  let at = 0;
  Buffer.from(names)
    .toString()
    .split('\0')
    .slice(0, -1)
    .forEach((name, place) => {
      if (!comparison.isSame(names, at, stats, place * wordsPerStat)) changed.push(name);
      at += Buffer.byteLength(name) + 1;
    });
  return changed.toSorted();
}

const modeOf = (record: FolderRecord, name: string): number | undefined =>
  record.stats[(record.placeOf(name) ?? -1) * wordsPerStat + modeWord];

describe('the record of a folder', () => {
  it('holds for each entry the words that node:fs tells too', () => {
    const record = new FolderRecord(later());
    using scan = scanFolder(root);
    record.begin(scan?.listedNames ?? []);
    for (const name of scan?.names ?? []) {
      scan?.statAt(name);
      scan?.record(record, name, true);
      const at = (record.placeOf(name) ?? 0) * wordsPerStat;
      expect(record.stats.subarray(at, at + wordsPerStat)).toEqual(wordsOfStats(lstatSync(join(root, name), { bigint: true })));
    }
    expect(scan?.names).toHaveLength(6);
  });

  it('is what the folder is, until something changes', async () => {
    const record = await recordOf();
    expect(changedIn(record)).toEqual([]);
    await writeFile(join(root, 'a'), 'THIS IS A');
    await chmod(join(root, 'ünï'), 0o600);
    // What a second link was written through has changed as well.
    expect(changedIn(record)).toEqual(['a', 'second', 'ünï']);
    await rm(join(root, 'link'));
    await mkdir(join(root, 'link'));
    expect(changedIn(record)).toContain('link');
  });

  it('lists no other names than it did', async () => {
    const record = await recordOf();
    await writeFile(join(root, 'new'), '');
    expect(changedIn(record)).toBeNull();
    await rm(join(root, 'new'));
    await rename(join(root, 'b'), join(root, 'c'));
    expect(changedIn(record)).toBeNull();
  });

  it('notes what is left out, and does not compare it when its path says so', async () => {
    await writeFile(join(root, 'b'), 'x'.repeat(100));
    const record = await recordOf({ excludes: ['ünï'], excludeLargerThanBytes: 50 });
    expect(modeOf(record, 'ünï')).toBe(leftOut);
    expect((modeOf(record, 'b') ?? 0) & notTaken).toBe(notTaken);
    await writeFile(join(root, 'ünï'), 'of no interest');
    expect(changedIn(record)).toEqual([]);
    await writeFile(join(root, 'b'), 'small now');
    expect(changedIn(record)).toEqual(['b']);
  });

  it('does not vouch for what changed as it was looked at, or is to change in the future', async () => {
    const now = await recordOf({ nowMs: Date.now() });
    expect(modeOf(now, 'a')).toBe(spoiled);
    expect(changedIn(now)).toContain('a');
    await utimes(join(root, 'b'), later(), later());
    expect(changedIn(await recordOf())).toEqual(['b']);
  });

  it.each([
    ['of fine stamps after a tenth of a second', 123_456_789, 99, 101],
    ['of stamps in whole seconds after two and a half', 0, 2_499, 2_501],
  ])('vouches for an entry %s', (_, ns, tooSoonMs, soonMs) => {
    const words = new Uint32Array(wordsPerStat).fill(1);
    for (const at of [modifiedWord, changedWord]) words.set([longAgoMs / 1000, 0, ns], at);
    const stampMs = longAgoMs + ns / 1e6;
    for (const [nowMs, expected] of [
      [stampMs + tooSoonMs, spoiled],
      [stampMs + soonMs, 1],
    ] as const) {
      const record = new FolderRecord(nowMs);
      record.begin(['one']);
      record.note('one', words, true);
      expect(modeOf(record, 'one')).toBe(expected);
    }
  });

  it('is not entered through a symlink', async () => {
    await symlink('folder', join(root, 'to-folder'));
    using comparison = openFolderComparison();
    for (const name of root.split('/').slice(1)) comparison?.enter(Buffer.from(`${name}\0`), 0);
    expect(comparison?.enter(Buffer.from('to-folder\0'), 0)).toBe(false);
    expect(comparison?.enter(Buffer.from('a\0'), 0)).toBe(false);
    expect(comparison?.enter(Buffer.from('folder\0'), 0)).toBe(true);
  });
});
