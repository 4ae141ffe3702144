import { execFile } from 'node:child_process';
import { lstat, mkdir, mkdtemp, open, realpath, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode } from '@holdfast/errors/errno-code';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource } from './file-system-source.ts';
import { openFileSystemTarget } from './file-system-target.ts';
import { loadSystemCalls } from './system-calls.ts';
import { copySource } from './testing/copy-source.ts';
import { removeTree } from './testing/tree-builder.ts';

/** What docs/file-system-coverage.md says of things that not every file system and user can have. */
const run = promisify(execFile);
const isRoot = process.geteuid?.() === 0;
const calls = loadSystemCalls();

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-coverage-')));
  onTestFinished(() => removeTree(path));
  await mkdir(join(path, 'from'));
  return path;
}

/** Backs `from` up and recovers it; gives where it is then, and what was said. */
async function recover(base: string): Promise<{ to: string; skipped: string[]; warnings: readonly unknown[] }> {
  const source = await openFileSystemSource({ paths: [join(base, 'from')], roots: [base] });
  const target = openFileSystemTarget({ path: join(base, 'to'), roots: [base], overwrite: false });
  await target.open();
  const skipped = await copySource(source, target);
  await target.close();
  return { to: join(base, 'to', base, 'from'), skipped, warnings: target.warnings };
}

/** posix_acl_xattr: version 2, then tag u16, permissions u16 and id u32 for each entry. */
function accessList(entries: readonly (readonly [tag: number, permissions: number, id: number])[]): Buffer {
  const bytes = Buffer.alloc(4 + entries.length * 8);
  bytes.writeUInt32LE(2);
  for (const [nth, [tag, permissions, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + nth * 8);
    bytes.writeUInt16LE(permissions, 6 + nth * 8);
    bytes.writeUInt32LE(id >>> 0, 8 + nth * 8);
  }
  return bytes;
}
const nobody = -1;
const list = accessList([
  [0x01, 6, nobody],
  [0x02, 4, 1234],
  [0x04, 4, nobody],
  [0x08, 6, 4321],
  [0x10, 6, nobody],
  [0x20, 0, nobody],
]);

describe.skipIf(calls === undefined || !isRoot)('what an administrator finds again', () => {
  const attributesOf = (path: string): Record<string, string> => {
    const { names } = calls?.listAttributes(path) ?? { names: [] };
    return Object.fromEntries(names.map((name) => [name, Buffer.from(calls?.getAttribute(path, name) ?? []).toString('hex')]));
  };

  it('access lists, of files and for what is made in folders', async ({ skip }) => {
    const base = await scratch();
    const [file, folder] = [join(base, 'from', 'file'), join(base, 'from', 'folder')];
    await writeFile(file, 'x');
    await mkdir(folder);
    try {
      calls?.setAttribute(file, 'system.posix_acl_access', list);
      calls?.setAttribute(folder, 'system.posix_acl_default', list);
    } catch (error) {
      if (errnoCode(error) !== 'ENOTSUP' && errnoCode(error) !== 'EOPNOTSUPP') throw error;
      skip('no access lists on this file system');
    }
    await writeFile(join(folder, 'inherits'), 'x');
    const { to, skipped, warnings } = await recover(base);
    expect([skipped, warnings]).toEqual([[], []]);
    for (const path of ['file', 'folder', 'folder/inherits']) {
      const before = join(base, 'from', path);
      expect(attributesOf(join(to, path))).toEqual(attributesOf(before));
      expect((await lstat(join(to, path))).mode).toBe((await lstat(before)).mode);
    }
    expect(attributesOf(join(to, 'file'))).toEqual({ 'system.posix_acl_access': list.toString('hex') });
    expect(Object.keys(attributesOf(join(to, 'folder')))).toContain('system.posix_acl_default');
  });

  it('attributes of every name space, and capabilities though the owner changes', async ({ skip }) => {
    const base = await scratch();
    const file = join(base, 'from', 'file');
    await writeFile(file, 'x', { mode: 0o755 });
    await run('chown', ['1234:4321', file]);
    // cap_net_bind_service=ep, revision 2.
    const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
    try {
      calls?.setAttribute(file, 'security.capability', capability);
      calls?.setAttribute(file, 'trusted.holdfast', Buffer.from('t'));
      calls?.setAttribute(file, 'user.large', Buffer.alloc(2000, 7));
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
      skip(`may not set them here (${errnoCode(error)})`);
    }
    await symlink('nowhere', join(base, 'from', 'link'));
    calls?.setAttribute(join(base, 'from', 'link'), 'trusted.of-a-link', Buffer.from('l'));
    const { to, skipped, warnings } = await recover(base);
    expect([skipped, warnings]).toEqual([[], []]);
    expect(attributesOf(join(to, 'file'))).toEqual(attributesOf(file));
    const { uid, gid } = await stat(join(to, 'file'));
    expect([uid, gid]).toEqual([1234, 4321]);
  });

  it('devices', async ({ skip }) => {
    const base = await scratch();
    const made = await run('mknod', [join(base, 'from', 'null'), 'c', '1', '3']).then(
      () => run('mknod', [join(base, 'from', 'block'), 'b', '259', '70000']),
      () => undefined,
    );
    if (made === undefined) skip('may not make devices');
    const { to, skipped, warnings } = await recover(base);
    expect([skipped, warnings]).toEqual([[], []]);
    for (const name of ['null', 'block']) {
      const [before, after] = [await lstat(join(base, 'from', name)), await lstat(join(to, name))];
      expect([after.mode, after.rdev]).toEqual([before.mode, before.rdev]);
    }
  });
});

describe('what anybody finds again', () => {
  it('times before 1970 and after 2038, and the bits that change whose rights a program has', async () => {
    const base = await scratch();
    for (const [name, time] of [
      ['old', '1901-12-14T00:00:00.123456789Z'],
      ['new', '2400-01-01T00:00:00.987654321Z'],
    ] as const) {
      await writeFile(join(base, 'from', name), name, { mode: 0o755 });
      await run('chmod', ['6755', join(base, 'from', name)]);
      await run('touch', ['-d', time, join(base, 'from', name)]);
    }
    const { to } = await recover(base);
    for (const name of ['old', 'new']) {
      const [before, after] = [await lstat(join(base, 'from', name), { bigint: true }), await lstat(join(to, name), { bigint: true })];
      const stepNs = calls === undefined ? 1_000_000n : 1n;
      expect([after.mode, after.mtimeNs / stepNs]).toEqual([before.mode, before.mtimeNs / stepNs]);
    }
  });

  it('the size and content of a file with holes', async () => {
    const base = await scratch();
    const path = join(base, 'from', 'sparse');
    await using handle = await open(path, 'w');
    await handle.write('begin', 0);
    await handle.write('end', 40_000_000);
    await handle.truncate(60_000_000);
    const { to } = await recover(base);
    expect((await stat(join(to, 'sparse'))).size).toBe(60_000_000);
    await run('cmp', [path, join(to, 'sparse')]);
  });
});
