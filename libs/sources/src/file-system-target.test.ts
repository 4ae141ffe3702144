import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, realpath, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource } from './file-system-source.ts';
import { openFileSystemTarget } from './file-system-target.ts';
import { loadSystemCalls } from './system-calls.ts';
import type { Target, TargetNode } from './target.ts';
import { copySource } from './testing/copy-source.ts';
import { buildTree, describeTree, removeTree, sampleTree, treeArbitrary } from './testing/tree-builder.ts';

const run = promisify(execFile);

/** What restored-metadata.ts promises, with and without the system calls. */
const timeStepNs = loadSystemCalls() === undefined ? 1000n : 1n;

describe('recovering a tree', () => {
  it('gives the same tree: contents, modes, owners, links and times to the nanosecond', async () => {
    const base = await scratch();
    const from = join(base, 'from');
    await buildTree(from, sampleTree);
    await run('touch', ['-d', '2024-05-06 07:08:09.123456789 UTC', join(from, 'program'), join(from, 'folder')]);
    await run('touch', ['-h', '-d', `1955-11-05 06:15:00${loadSystemCalls() === undefined ? '' : '.000000001'} UTC`, join(from, 'link')]);
    const target = await openTarget(base, 'to');
    expect(await copySource(await openFileSystemSource({ paths: [from], roots: [base] }), target)).toEqual([]);
    await target.close();
    await target.close();
    // The folders above, such as /tmp, are root's.
    expect(target.warnings.length).toBe(process.geteuid?.() === 0 ? 0 : 1);
    expect(await describeTree(join(base, 'to', from), timeStepNs)).toEqual(await describeTree(from, timeStepNs));
    if (loadSystemCalls() !== undefined) {
      expect((await lstat(join(base, 'to', from, 'program'), { bigint: true })).mtimeNs % 1_000_000_000n).toBe(123_456_789n);
    }
    await run('diff', ['-r', '--no-dereference', from, join(base, 'to', from)]);
    // As restic does: the target's own folder is no part of the snapshot.
    expect((await stat(join(base, 'to'))).mode & 0o777).toBe(0o700);
  });

  it('gives the same tree for any tree, and again over itself', async () => {
    const base = await scratch();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(treeArbitrary(), async (entries) => {
        const from = join(base, String((count += 1)), 'from');
        const to = join(base, String(count), 'to');
        await buildTree(from, entries);
        const expected = await describeTree(from, timeStepNs);
        const source = await openFileSystemSource({ paths: [from], roots: [base] });
        for (const overwrite of [false, true]) {
          const target = openFileSystemTarget({ path: to, roots: [base], overwrite });
          await target.open();
          await copySource(source, target);
          await target.close();
          expect(await describeTree(join(to, from), timeStepNs)).toEqual(expected);
        }
      }),
      { numRuns: 25 },
    );
  });

  it.skipIf(loadSystemCalls() === undefined)('recovers fifos, sockets and extended attributes', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const extendedAttributes = new Map([['user.colour', Buffer.from('red')]]);
    await (await target.openFile('/file', { ...fileNode('file'), extendedAttributes })).close();
    await target.makeNode('/fifo', { ...fileNode('fifo'), type: 'fifo', mode: 0o622 });
    await target.makeNode('/socket', { ...fileNode('socket'), type: 'socket', mode: 0o640 });
    expect(Buffer.from(loadSystemCalls()?.getAttribute(join(base, 'to', 'file'), 'user.colour') ?? []).toString()).toBe('red');
    const fifo = await stat(join(base, 'to', 'fifo'));
    expect([fifo.isFIFO(), fifo.mode & 0o777]).toEqual([true, 0o622]);
    const socket = await lstat(join(base, 'to', 'socket'));
    expect([socket.isSocket(), socket.mode & 0o777]).toEqual([true, 0o640]);
    expect(target.warnings).toEqual([]);
  });
});

describe('opening a target', () => {
  it('refuses what is outside the roots, through a symlink too', async () => {
    const base = await scratch();
    await mkdir(join(base, 'roots'));
    await symlink(base, join(base, 'roots', 'out'));
    for (const path of [join(base, 'other'), join(base, 'roots', 'out'), join(base, 'roots', 'out', 'new'), `${base}/roots/../x`]) {
      const target = openFileSystemTarget({ path, roots: [join(base, 'roots')], overwrite: true });
      await expect(target.open()).rejects.toSatisfy(hasCode('path_outside_roots'));
    }
    expect((await readdir(base)).toSorted()).toEqual(['roots']);
  });

  it('takes an empty folder, refuses one that is not, unless told to overwrite', async () => {
    const base = await scratch();
    await mkdir(join(base, 'to'));
    await openTarget(base, 'to');
    await writeFile(join(base, 'to', 'kept'), 'kept');
    await expect(openTarget(base, 'to')).rejects.toSatisfy(hasCode('target_not_empty'));
    const target = await openTarget(base, 'to', true);
    await (await target.openFile('/new', fileNode('new'))).close();
    expect((await readdir(join(base, 'to'))).toSorted()).toEqual(['kept', 'new']);
  });

  it('refuses a file in its place', async () => {
    const base = await scratch();
    await writeFile(join(base, 'to'), 'x');
    await expect(openTarget(base, 'to', true)).rejects.toSatisfy(hasCode('target_not_writable'));
    await expect(openTarget(base, 'to/below')).rejects.toSatisfy(hasCode('path_not_readable'));
    expect(await readFile(join(base, 'to'), 'utf8')).toBe('x');
  });

  it.skipIf(process.geteuid?.() === 0)('refuses a folder that it may not write to', async () => {
    const base = await scratch();
    await mkdir(join(base, 'to'), { mode: 0o500 });
    await expect(openTarget(base, 'to')).rejects.toSatisfy(hasCode('target_not_writable'));
  });
});

describe('a hostile snapshot', () => {
  it('cannot name its way out', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const paths = ['', '/', '/..', '/../out', '/a/../../out', '/./a', '/a//b', '/a/', 'a', '../out', '/a\0b', `/${'n'.repeat(256)}`, '/..'];
    for (const path of paths) {
      await expect(target.openFile(path, fileNode(path.split('/').at(-1) ?? ''))).rejects.toSatisfy(hasCode('path_outside_roots'));
      await expect(target.makeHardLink(path, '/a')).rejects.toSatisfy(hasCode('path_outside_roots'));
      await expect(target.makeHardLink('/a', path)).rejects.toSatisfy(hasCode('path_outside_roots'));
      await expect(target.makeNode(path, symlinkNode(path, '/etc'))).rejects.toSatisfy(hasCode('path_outside_roots'));
      if (path !== '/') await expect(target.makeDirectory(path, folderNode(path))).rejects.toSatisfy(hasCode('path_outside_roots'));
    }
    for (const [path, name] of [
      ['/sub/a', 'sub/a'],
      ['/a', 'b'],
    ] as const) {
      await expect(target.openFile(path, fileNode(name))).rejects.toSatisfy(hasCode('path_outside_roots'));
    }
    expect(await readdir(base)).toEqual(['to']);
    expect(await readdir(join(base, 'to'))).toEqual([]);
  });

  it('cannot name its way out, whatever it tries', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to', true);
    const part = fc.oneof(fc.constantFrom('..', '.', '', 'a', 'link', '...', '\0'), fc.string({ maxLength: 3 }));
    const step = fc.tuple(fc.constantFrom('file', 'dir', 'link', 'hard'), fc.array(part, { minLength: 1, maxLength: 4 }));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 6 }), async (steps) => {
        for (const [kind, names] of steps) {
          const path = `/${names.join('/')}`;
          const name = names.at(-1) ?? '';
          await attemptStep(target, kind, path, name).catch((error: unknown) => expect(error).toSatisfy((one) => isHoldfastError(one)));
        }
        expect(await readdir(base)).toEqual(['to']);
      }),
      { numRuns: 60 },
    );
  });

  it.each([false, true])('cannot write through a symlink that it planted (overwrite: %s)', async (overwrite) => {
    const base = await scratch();
    await mkdir(join(base, 'outside'));
    await writeFile(join(base, 'outside', 'file'), 'theirs');
    const target = await openTarget(base, 'to', overwrite);
    await target.makeNode('/way', symlinkNode('way', join(base, 'outside')));
    await target.makeNode('/file', symlinkNode('file', join(base, 'outside', 'file')));
    await expect(target.openFile('/way/new', fileNode('new'))).rejects.toSatisfy(isRefusal);
    await expect(target.makeDirectory('/way/new', folderNode('new'))).rejects.toSatisfy(isRefusal);
    await expect(target.makeNode('/way/new', symlinkNode('new', 'x'))).rejects.toSatisfy(isRefusal);
    await expect(target.makeHardLink('/mine', '/way/file')).rejects.toSatisfy(isRefusal);
    await expect(target.makeHardLink('/way/mine', '/file')).rejects.toSatisfy(isRefusal);
    await expect(target.finishDirectory('/way', folderNode('way'))).rejects.toSatisfy(isRefusal);
    await target.openFile('/file', fileNode('file')).then(
      (file) => file.close(),
      (error: unknown) => expect(error).toSatisfy(hasCode('target_not_empty')),
    );
    expect(await readdir(join(base, 'outside'))).toEqual(['file']);
    expect(await readFile(join(base, 'outside', 'file'), 'utf8')).toBe('theirs');
  });

  it('cannot write through symlinks that were there before', async () => {
    const base = await scratch();
    await mkdir(join(base, 'outside'));
    await writeFile(join(base, 'outside', 'file'), 'theirs');
    await mkdir(join(base, 'to'));
    await symlink(join(base, 'outside'), join(base, 'to', 'folder'));
    await symlink(join(base, 'outside', 'file'), join(base, 'to', 'file'));
    const target = await openTarget(base, 'to', true);
    await target.makeDirectory('/folder', folderNode('folder'));
    const [first, second] = [await target.openFile('/folder/file', fileNode('file')), await target.openFile('/file', fileNode('file'))];
    await first.write(Buffer.from('ours'), 0);
    await second.write(Buffer.from('ours'), 0);
    await Promise.all([first.close(), second.close()]);
    expect(await readFile(join(base, 'outside', 'file'), 'utf8')).toBe('theirs');
    expect((await lstat(join(base, 'to', 'folder'))).isDirectory()).toBe(true);
    expect((await lstat(join(base, 'to', 'file'))).isFile()).toBe(true);
  });
});

describe('writing into a target', () => {
  it('replaces files and links only when told to, and never a folder', async () => {
    const base = await scratch();
    await mkdir(join(base, 'to', 'folder'), { recursive: true });
    await writeFile(join(base, 'to', 'file'), 'old and longer');
    await symlink('x', join(base, 'to', 'link'));
    const target = await openTarget(base, 'to', true);
    const file = await target.openFile('/file', { ...fileNode('file'), sizeBytes: 3 });
    await file.write(Buffer.from('new'), 0);
    await file.close();
    await target.makeNode('/link', symlinkNode('link', 'y'));
    expect(await readFile(join(base, 'to', 'file'), 'utf8')).toBe('new');
    expect(await readlink(join(base, 'to', 'link'))).toBe('y');
    await expect(target.openFile('/folder', fileNode('folder'))).rejects.toSatisfy(hasCode('target_not_empty'));
    await expect(target.makeNode('/folder', symlinkNode('folder', 'y'))).rejects.toSatisfy(hasCode('target_not_empty'));
    const careful = await openTarget(base, 'new');
    await (await careful.openFile('/file', fileNode('file'))).close();
    await expect(careful.openFile('/file', fileNode('file'))).rejects.toSatisfy(hasCode('target_not_empty'));
    await expect(careful.makeDirectory('/file', folderNode('file'))).rejects.toSatisfy(hasCode('target_not_empty'));
  });

  it('leaves the mode of folders that are there alone until they are finished', async () => {
    const base = await scratch();
    await mkdir(join(base, 'to', 'folder'), { recursive: true });
    await chmod(join(base, 'to', 'folder'), 0o755);
    const target = await openTarget(base, 'to', true);
    await target.makeDirectory('/folder', folderNode('folder'));
    expect((await stat(join(base, 'to', 'folder'))).mode & 0o777).toBe(0o755);
    await target.finishDirectory('/folder', { ...folderNode('folder'), mode: 0o710 });
    expect((await stat(join(base, 'to', 'folder'))).mode & 0o777).toBe(0o710);
  });

  it('gives a file its size, with what was not written as zeros', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const file = await target.openFile('/file', { ...fileNode('file'), sizeBytes: 10 });
    await file.write(Buffer.from('ab'), 4);
    await file.close();
    expect((await readFile(join(base, 'to', 'file'))).toString('latin1')).toBe('\0\0\0\0ab\0\0\0\0');
  });

  it('keeps content beyond the size that the snapshot gives', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const file = await target.openFile('/grown', { ...fileNode('grown'), sizeBytes: 1 });
    await file.write(Buffer.from('abc'), 0);
    await file.close();
    expect(await readFile(join(base, 'to', 'grown'), 'utf8')).toBe('abc');
  });

  it('keeps the time of a folder that was filled after its making', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const folder = { ...folderNode('folder'), modifiedNs: 1_234_567_890_123_456_789n };
    await target.makeDirectory('/folder', folder);
    await (await target.openFile('/folder/file', fileNode('file'))).close();
    await target.finishDirectory('/folder', folder);
    const { mtimeNs } = await stat(join(base, 'to', 'folder'), { bigint: true });
    expect(mtimeNs / 1000n).toBe(1_234_567_890_123_456n);
  });

  it('removes a file that was not finished', async () => {
    const base = await scratch();
    const target = await openTarget(base, 'to');
    const file = await target.openFile('/half', fileNode('half'));
    await file.write(Buffer.from('half'), 0);
    await (await target.openFile('/whole', fileNode('whole'))).close();
    await target.close();
    expect(await readdir(join(base, 'to'))).toEqual(['whole']);
  });

  it('refuses work before it is open', async () => {
    const target = openFileSystemTarget({ path: '/nowhere', roots: ['/'], overwrite: false });
    await expect(target.makeDirectory('/a', folderNode('a'))).rejects.toSatisfy(hasCode('internal'));
  });

  it('does not touch what a folder held when its names are not the snapshot’s', async () => {
    const base = await scratch();
    await mkdir(join(base, 'to'));
    await writeFile(join(base, 'to', 'kept'), 'kept');
    await utimes(join(base, 'to', 'kept'), 1, 1);
    const target = await openTarget(base, 'to', true);
    await (await target.openFile('/file', fileNode('file'))).close();
    expect((await stat(join(base, 'to', 'kept'))).mtimeMs).toBe(1000);
  });
});

async function attemptStep(target: Target, kind: string, path: string, name: string): Promise<void> {
  if (kind === 'file') await (await target.openFile(path, fileNode(name))).close();
  else if (kind === 'dir') await target.makeDirectory(path, folderNode(name));
  else if (kind === 'link') await target.makeNode(path, symlinkNode(path, '..'));
  else await target.makeHardLink(path, '/a');
}

function fileNode(name: string): TargetNode {
  const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  return { name, type: 'file', mode: 0o644, modifiedNs: 1_000_000_000n, accessedNs: 1_000_000_000n, ...owner, sizeBytes: 0 };
}

function folderNode(path: string): TargetNode {
  return { ...fileNode(path.split('/').at(-1) ?? ''), type: 'dir', mode: 0o755 };
}

function symlinkNode(path: string, linkTarget: string): TargetNode {
  return { ...fileNode(path.split('/').at(-1) ?? ''), type: 'symlink', mode: 0o777, linkTarget };
}

async function openTarget(base: string, name: string, overwrite = false): Promise<Target> {
  const target = openFileSystemTarget({ path: join(base, name), roots: [base], overwrite });
  await target.open();
  return target;
}

function hasCode(code: Parameters<typeof isHoldfastError>[1]): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}

function isRefusal(error: unknown): boolean {
  return isHoldfastError(error, 'path_outside_roots') || isHoldfastError(error, 'target_not_writable');
}

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-target-')));
  onTestFinished(() => removeTree(path));
  return path;
}
