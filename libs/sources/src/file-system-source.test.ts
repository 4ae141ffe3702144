import { execFile } from 'node:child_process';
import { closeSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rename, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource } from './file-system-source.ts';
import { openThreadFolder } from './thread-folder.ts';
import { parseOwnerNames } from './owner-names.ts';
import type { SourceEntry } from './source.ts';
import { loadSystemCalls } from './system-calls.ts';
import { describeSourceContract, walk } from './testing/source-contract.ts';
import { buildTree, removeTree, sampleTree } from './testing/tree-builder.ts';

const run = promisify(execFile);

describeSourceContract('file system', async () => {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-source-')));
  await buildTree(join(base, 'tree'), sampleTree);
  await buildTree(join(base, 'other'), sampleTree.slice(0, 3));
  const paths = [join(base, 'tree'), join(base, 'other', 'program')];
  return { source: await openFileSystemSource({ paths, roots: [base] }), dispose: () => removeTree(base) };
});

describe('file system source', () => {
  it('shows the folders above its paths with nothing else in them', async () => {
    const base = await scratch();
    await buildTree(base, sampleTree);
    const source = await openFileSystemSource({ paths: [join(base, 'folder', 'deep'), join(base, 'program')], roots: [base] });
    const nodes = await walk(source);
    const below = [...nodes.keys()].filter((path) => path.startsWith(`${base}/`)).map((path) => path.slice(base.length + 1));
    expect(below).toEqual(['folder', 'folder/deep', 'folder/deep/er', 'folder/deep/er/file', 'program']);
    expect(nodes.get(join(base, 'folder'))).toMatchObject({ type: 'dir', mode: 0o750, modifiedNs: 1_400_000_000_125_000_000n });
    await expect(source.openFile(join(base, 'old'))).rejects.toSatisfy(hasCode('path_not_found'));
    await expect(source.readDirectory(join(base, 'closed'))).rejects.toSatisfy(hasCode('path_not_found'));
  });

  it('drops paths inside others and resolves symlinks among its paths', async () => {
    const base = await scratch();
    await buildTree(base, sampleTree);
    const paths = [join(base, 'link'), join(base, 'folder'), join(base, 'folder', 'deep', 'er'), `${base}/folder/`];
    expect((await openFileSystemSource({ paths, roots: [base] })).paths).toEqual([join(base, 'folder')]);
  });

  it('refuses paths that are outside, missing, or left out by a pattern', async () => {
    const base = await scratch();
    await buildTree(base, sampleTree);
    const open = (path: string, excludes: string[] = []) => openFileSystemSource({ paths: [path], excludes, roots: [base] });
    await expect(open('/etc')).rejects.toSatisfy(hasCode('path_outside_roots'));
    await expect(open(join(base, 'link-outside'))).rejects.toSatisfy(hasCode('path_outside_roots'));
    await expect(open(`${base}/../x`)).rejects.toSatisfy(hasCode('path_outside_roots'));
    await expect(open(join(base, 'missing'))).rejects.toSatisfy(hasCode('path_not_found'));
    await expect(open(join(base, 'program', 'below'))).rejects.toSatisfy(hasCode('path_not_readable'));
    await expect(open(join(base, 'folder'), ['folder'])).rejects.toSatisfy(hasCode('request_invalid'));
    await expect(open(join(base, 'folder'), ['['])).rejects.toSatisfy(hasCode('request_invalid'));
  });

  it('leaves out what the patterns name, and counts it out', async () => {
    const base = await scratch();
    await buildTree(base, sampleTree);
    const source = await openFileSystemSource({ paths: [base], excludes: ['deep', `${base}/o*`, 'n*n'], roots: [base] });
    const names = new Set([...(await walk(source)).values()].map(({ name }) => name));
    expect(names).toContain('hard');
    for (const name of ['deep', 'er', 'file1', 'old', 'one byte', 'n'.repeat(255)]) expect(names).not.toContain(name);
    await expect(source.openFile(join(base, 'old'))).rejects.toSatisfy(hasCode('path_not_found'));
    const files = [...(await walk(source)).values()].filter(({ type }) => type === 'file').length;
    expect((await source.estimate?.())?.files).toBe(files);
  });

  it('shows links, fifos and sockets as what they are', async () => {
    const base = await scratch();
    await buildTree(base, sampleTree);
    await run('mkfifo', [join(base, 'fifo')]);
    const server = createServer().listen(join(base, 'socket'));
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const nodes = await walk(await openFileSystemSource({ paths: [base], roots: [base] }));
    expect(nodes.get(join(base, 'fifo'))?.type).toBe('fifo');
    expect(nodes.get(join(base, 'socket'))?.type).toBe('socket');
    expect(nodes.get(join(base, 'link'))).toMatchObject({ type: 'symlink', linkTarget: 'folder/deep', sizeBytes: 0 });
    expect(nodes.get(join(base, 'sticky'))?.mode).toBe(0o4711);
    const [one, hard] = [nodes.get(join(base, 'one byte')), nodes.get(join(base, 'hard'))];
    expect(one).toMatchObject({ linkCount: 3n, inode: hard?.inode, deviceId: hard?.deviceId });
    await expect((await openFileSystemSource({ paths: [base], roots: [base] })).openFile(join(base, 'fifo'))).rejects.toSatisfy(
      hasCode('path_not_found'),
    );
  });

  it('shows names and link targets that are not UTF-8 byte for byte', async () => {
    const base = await scratch();
    await writeFile(Buffer.concat([Buffer.from(`${base}/caf`), Buffer.from([0xe9])]), 'x');
    await symlink(Buffer.from([0x61, 0xff]), join(base, 'link'));
    const source = await openFileSystemSource({ paths: [base], roots: [base] });
    expect(await source.readDirectory(base)).toMatchObject([
      { node: { name: 'caf\udce9', type: 'file' } },
      { node: { name: 'link', linkTarget: 'a\udcff' } },
    ]);
    const file = await source.openFile(`${base}/caf\udce9`);
    const bytes = new Uint8Array(1);
    expect(await file.read(bytes, 0)).toBe(1);
    await file.close();
    expect(await source.estimate?.()).toEqual({ files: 1, bytes: 1 });
    const folder = openThreadFolder(base);
    closeSync(folder.openFile('caf\udce9'));
    folder.close();
  });

  it('takes what was swapped for a symlink while it is read for gone', async () => {
    const base = await scratch();
    const root = join(base, 'root');
    await buildTree(root, [
      { type: 'dir', path: 'a' },
      { type: 'dir', path: 'a/b' },
      { type: 'file', path: 'a/b/file', content: Buffer.from('ours') },
      { type: 'file', path: 'file', content: Buffer.from('ours') },
    ]);
    await buildTree(join(base, 'secret'), [
      { type: 'dir', path: 'b' },
      { type: 'file', path: 'b/file', content: Buffer.from('secret') },
    ]);
    const source = await openFileSystemSource({ paths: [root], roots: [root] });
    await source.readDirectory(join(root, 'a'));
    await rename(join(root, 'a'), join(root, 'moved'));
    await symlink(join(base, 'secret'), join(root, 'a'));
    await unlink(join(root, 'file'));
    await symlink(join(base, 'secret', 'b', 'file'), join(root, 'file'));
    await expect(source.readDirectory(join(root, 'a'))).rejects.toSatisfy(hasCode('path_not_found'));
    await expect(source.readDirectory(join(root, 'a', 'b'))).rejects.toSatisfy(hasCode('path_not_found'));
    await expect(source.openFile(join(root, 'a', 'b', 'file'))).rejects.toSatisfy(hasCode('path_not_found'));
    await expect(source.openFile(join(root, 'file'))).rejects.toSatisfy(hasCode('path_not_found'));
    expect((await source.estimate?.())?.files).toBe(1);
  });

  it('reads what is left of a file that shrinks', async () => {
    const base = await scratch();
    await writeFile(join(base, 'file'), Buffer.alloc(1000, 1));
    const source = await openFileSystemSource({ paths: [base], roots: [base] });
    const file = await source.openFile(join(base, 'file'));
    await truncate(join(base, 'file'), 300);
    expect(await file.read(new Uint8Array(1000), 0)).toBe(300);
    expect(await file.read(new Uint8Array(1000), 300)).toBe(0);
    await file.close();
  });

  it.skipIf(process.geteuid?.() === 0)('says of what it may not read that it may not', async () => {
    const base = await scratch();
    await mkdir(join(base, 'closed'));
    await chmod(join(base, 'closed'), 0);
    const source = await openFileSystemSource({ paths: [base], roots: [base] });
    await expect(source.readDirectory(join(base, 'closed'))).rejects.toSatisfy(hasCode('path_not_readable'));
    await chmod(join(base, 'closed'), 0o700);
  });

  it.skipIf(loadSystemCalls() === undefined)('reads extended attributes', async () => {
    const base = await scratch();
    await writeFile(join(base, 'file'), 'x');
    loadSystemCalls()?.setAttribute(join(base, 'file'), 'user.colour', Buffer.from('red'));
    loadSystemCalls()?.setAttribute(join(base, 'file'), 'user.empty', Buffer.alloc(0));
    const [entry] = await (await openFileSystemSource({ paths: [base], roots: [base] })).readDirectory(base);
    expect(attributesOf(entry)).toEqual({ 'user.colour': 'red', 'user.empty': '' });
  });
});

describe('owner names', () => {
  it('takes the first name of a number and passes over what is no entry', () => {
    const names = parseOwnerNames('root:x:0:0:root:/root:/bin/sh\n# a:x:1\ntoor:x:0:\n\nbroken\nno:x:number:\nme:x:1000:');
    expect([...names]).toEqual([
      [0, 'root'],
      [1000, 'me'],
    ]);
  });
});

function attributesOf(entry: SourceEntry | undefined): Record<string, string> {
  const attributes = entry?.kind === 'node' ? entry.node.extendedAttributes : undefined;
  return Object.fromEntries([...(attributes ?? [])].map(([name, value]) => [name, Buffer.from(value).toString()]));
}

function hasCode(code: Parameters<typeof isHoldfastError>[1]): (error: unknown) => boolean {
  return (error) => isHoldfastError(error, code);
}

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-source-')));
  onTestFinished(() => removeTree(path));
  return path;
}
