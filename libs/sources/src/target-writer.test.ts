import { chmod, chown, lstat, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadSystemCalls } from './system-calls.ts';
import type { NewFile, TargetNode } from './target.ts';
import { TargetWriter } from './target-writer.ts';

const isRoot = process.geteuid?.() === 0;
const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const times = { accessedSeconds: 1_700_000_001, accessedNs: 999_999_999, modifiedSeconds: -86_400 * 365 * 20, modifiedNs: 1000 };
const timeStepNs = loadSystemCalls() === undefined ? 1_000_000n : 1n;
const fileOf = (name: string, more: Partial<NewFile> = {}): NewFile => ({ name, mode: 0o644, ...owner, ...times, sizeBytes: 3, ...more });
const folder: TargetNode = { name: 'in', type: 'dir', mode: 0o755, modifiedNs: 1n, accessedNs: 1n, ...owner, sizeBytes: 0 };

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-writer-')));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

function openWriter(root: string, overwrite = false): TargetWriter {
  const writer = new TargetWriter({ kind: 'file_system', root, overwrite, ownersWarned: new SharedArrayBuffer(4) });
  onTestFinished(() => writer.close());
  return writer;
}

async function describeFile(path: string): Promise<object> {
  const { mode, uid, gid, size, atimeNs, mtimeNs } = await lstat(path, { bigint: true });
  return {
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    size,
    atimeNs: atimeNs / timeStepNs,
    mtimeNs: mtimeNs / timeStepNs,
  };
}

const files: NewFile[] = [
  ...[0o644, 0o600, 0o755, 0o777, 0o444, 0o000, 0o4755, 0o2711, 0o1644].map((mode) => fileOf(`mode-${mode.toString(8)}`, { mode })),
  ...[0o644, 0o4755].map((mode) => fileOf(`again-${mode.toString(8)}`, { mode })),
  fileOf('longer', { sizeBytes: 10_000 }),
  fileOf('shorter', { sizeBytes: 0 }),
  fileOf('theirs', { uid: owner.uid + 1, gid: owner.gid + 2, mode: 0o640 }),
  fileOf('noted', { extendedAttributes: new Map([['user.note', Buffer.from('x')]]) }),
  fileOf('naïve ü'),
];

/** Writes all files in `in`, a folder that is made, or is there already. */
async function writeAll(root: string, prepare: (path: string) => Promise<void>): Promise<object[]> {
  const writer = openWriter(root);
  expect(writer.makeDirectory('/in', folder)).toBe(true);
  await prepare(`${root}/in`);
  for (const file of files) writer.writeFile('/in', file, Buffer.from('abc'));
  expect(writer.takeWarnings().filter(({ path }) => path !== '/in/theirs' && path !== '/in/noted')).toEqual([]);
  return await Promise.all(files.map(({ name }) => describeFile(`${root}/in/${name}`)));
}

describe('files that are written whole', () => {
  const expected = (file: NewFile): object => ({
    mode: file.mode,
    uid: isRoot ? file.uid : owner.uid,
    gid: isRoot ? file.gid : owner.gid,
    size: BigInt(Math.max(3, file.sizeBytes)),
    atimeNs: (BigInt(times.accessedSeconds) * 1_000_000_000n + BigInt(times.accessedNs)) / timeStepNs,
    mtimeNs: (BigInt(times.modifiedSeconds) * 1_000_000_000n + BigInt(times.modifiedNs)) / timeStepNs,
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['in a folder that nobody else can come to', async () => {}],
    ['in one that others can read', (path) => chmod(path, 0o755)],
    ['in one that is for its group', (path) => chmod(path, 0o770)],
  ])('have mode, owner, times and size %s', async (_name, prepare) => {
    const root = await scratch();
    expect(await writeAll(root, prepare)).toEqual(files.map(expected));
    expect((await readFile(`${root}/in/longer`)).subarray(0, 4)).toEqual(Buffer.from('abc\0'));
  });

  it.runIf(isRoot)('have their own group in a folder that hands on its group', async () => {
    const prepare = async (path: string): Promise<void> => {
      await chown(path, 0, 12_345);
      await chmod(path, 0o2700);
    };
    expect(await writeAll(await scratch(), prepare)).toEqual(files.map(expected));
  });

  it('have their mode whatever the umask takes away', async () => {
    const umask = process.umask(0o077);
    try {
      expect(await writeAll(await scratch(), async () => {})).toEqual(files.map(expected));
    } finally {
      process.umask(umask);
    }
  });

  it.each([false, true])('never go through a link in their place, overwrite %s', async (overwrite) => {
    const [root, outside] = [await scratch(), await scratch()];
    await writeFile(`${outside}/theirs`, 'theirs');
    await mkdir(`${root}/in`, { mode: 0o700 });
    await symlink(`${outside}/theirs`, `${root}/in/a`);
    await symlink(`${outside}/new`, `${root}/in/b`);
    const writer = openWriter(root, overwrite);
    for (const name of ['a', 'b']) {
      const write = (): void => writer.writeFile('/in', fileOf(name), Buffer.from('abc'));
      if (overwrite) write();
      else expect(write).toThrow(expect.toSatisfy((error) => isHoldfastError(error, 'target_not_empty')));
      expect((await lstat(`${root}/in/${name}`)).isSymbolicLink()).toBe(!overwrite);
    }
    expect(await readFile(`${outside}/theirs`, 'utf8')).toBe('theirs');
    await expect(lstat(`${outside}/new`)).rejects.toThrow('ENOENT');
  });

  it.each(['..', '.', '', '../a', 'a/b', 'a\0', 'x'.repeat(256)])('never have the name %j', async (name) => {
    const writer = openWriter(await scratch());
    const write = (): void => writer.writeFile('/', fileOf(name), Buffer.from('abc'));
    expect(write).toThrow(expect.toSatisfy((error) => isHoldfastError(error, 'path_outside_roots')));
  });

  it('hold the same when they are to go to the disk at once', async () => {
    const root = await scratch();
    for (const startsWriteback of [false, true]) {
      const options = { kind: 'file_system' as const, root, overwrite: true, ownersWarned: new SharedArrayBuffer(4) };
      const writer = new TargetWriter({ ...options, startsWriteback });
      writer.writeFile('/', fileOf('whole'), Buffer.from('abc'));
      const node: TargetNode = { ...folder, name: 'parts', type: 'file', sizeBytes: 6 };
      const descriptor = writer.createFile('/parts', node);
      writer.write(descriptor, Buffer.from('def'), 3, '/parts');
      writer.write(descriptor, Buffer.from('abc'), 0, '/parts');
      writer.finishFile('/parts', node, descriptor);
      writer.closeFile(descriptor);
      writer.close();
      expect(await readFile(`${root}/whole`, 'utf8')).toBe('abc');
      expect(await readFile(`${root}/parts`, 'utf8')).toBe('abcdef');
    }
  });

  it('go into many folders in turn, more than stay open', async () => {
    const root = await scratch();
    const writer = openWriter(root);
    const paths = Array.from({ length: 150 }, (_, nth) => `/${nth}`);
    for (const path of paths) writer.makeDirectory(path, { ...folder, name: path.slice(1) });
    for (const name of ['a', 'b']) for (const path of paths) writer.writeFile(path, fileOf(name, { sizeBytes: 0 }), Buffer.from(path));
    for (const path of paths) expect(await readFile(`${root}${path}/b`, 'utf8')).toBe(path);
  });
});
