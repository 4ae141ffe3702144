import { createHash } from 'node:crypto';
import { chmod, link, lstat, lutimes, mkdir, readdir, readFile, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import fc from 'fast-check';
import { pathFromBytes, toSystemPath } from '../system-path.ts';

/** A tree of files for tests: what it holds, in order, paths relative to its root. A folder comes before what is in it. */
export type TreeEntry =
  | {
      readonly type: 'file';
      readonly path: string;
      readonly content: Uint8Array;
      readonly mode?: number;
      readonly modifiedSeconds?: number;
    }
  | { readonly type: 'dir'; readonly path: string; readonly mode?: number; readonly modifiedSeconds?: number }
  | { readonly type: 'symlink'; readonly path: string; readonly linkTarget: string; readonly modifiedSeconds?: number }
  | { readonly type: 'hard-link'; readonly path: string; readonly existing: string };

/** Everything that a small tree can hold on any file system, as any user. */
export const sampleTree: readonly TreeEntry[] = [
  { type: 'file', path: 'empty', content: new Uint8Array(0), modifiedSeconds: 1_600_000_000.5 },
  { type: 'file', path: 'one byte', content: Buffer.from('x'), mode: 0o600 },
  { type: 'file', path: 'program', content: Buffer.from('#!/bin/sh\n'), mode: 0o755 },
  { type: 'file', path: 'sticky', content: Buffer.from('s'), mode: 0o4711 },
  { type: 'file', path: 'read-only', content: Buffer.from('r'), mode: 0o444 },
  { type: 'file', path: 'old', content: Buffer.from('1970'), modifiedSeconds: 1 },
  { type: 'file', path: 'large', content: Buffer.alloc(3_000_000, 'holdfast ') },
  { type: 'file', path: 'zeros', content: new Uint8Array(1_500_000) },
  { type: 'dir', path: 'empty folder', modifiedSeconds: 1_500_000_000.25 },
  { type: 'dir', path: 'folder', mode: 0o750, modifiedSeconds: 1_400_000_000.125 },
  { type: 'dir', path: 'folder/deep', mode: 0o1777 },
  { type: 'dir', path: 'folder/deep/er' },
  { type: 'file', path: 'folder/deep/er/file', content: Buffer.from('deep') },
  { type: 'dir', path: 'closed', mode: 0o500 },
  { type: 'file', path: 'closed/file', content: Buffer.from('c') },
  { type: 'symlink', path: 'link', linkTarget: 'folder/deep', modifiedSeconds: 1_300_000_000.75 },
  { type: 'symlink', path: 'link-to-nothing', linkTarget: '../no/such/thing' },
  { type: 'symlink', path: 'link-outside', linkTarget: '/etc/passwd' },
  { type: 'symlink', path: 'link-to-itself', linkTarget: 'link-to-itself' },
  { type: 'hard-link', path: 'folder/hard', existing: 'one byte' },
  { type: 'hard-link', path: 'hard', existing: 'one byte' },
  { type: 'file', path: 'äöü€😀', content: Buffer.from('unicode') },
  { type: 'file', path: 'a\u0308', content: Buffer.from('not normalised') },
  { type: 'file', path: '-rf', content: Buffer.from('option') },
  { type: 'file', path: '..odd', content: Buffer.from('dots') },
  { type: 'file', path: ' ', content: Buffer.from('space') },
  { type: 'file', path: 'quote " back\\slash \n new line', content: Buffer.from('quoted') },
  { type: 'file', path: '*?[a]', content: Buffer.from('pattern') },
  { type: 'file', path: 'n'.repeat(255), content: Buffer.from('long') },
];

/** Makes the tree below `root`, which is made too. Modes and times of folders last. */
export async function buildTree(root: string, entries: readonly TreeEntry[]): Promise<void> {
  await mkdir(root, { recursive: true });
  for (const entry of entries) {
    const path = toSystemPath(posix.join(root, entry.path));
    if (entry.type === 'dir') await mkdir(path);
    else if (entry.type === 'symlink') await symlink(toSystemPath(entry.linkTarget), path);
    else if (entry.type === 'hard-link') await link(toSystemPath(posix.join(root, entry.existing)), path);
    else await writeFile(path, entry.content);
  }
  for (const entry of entries.toReversed()) {
    if (entry.type === 'hard-link') continue;
    const path = toSystemPath(posix.join(root, entry.path));
    if (entry.type !== 'symlink' && entry.mode !== undefined) await chmod(path, entry.mode);
    if (entry.modifiedSeconds === undefined) continue;
    const setTimes = entry.type === 'symlink' ? lutimes : utimes;
    await setTimes(path, entry.modifiedSeconds, entry.modifiedSeconds);
  }
}

/** Removes a tree, folders that keep their own owner out among it. */
export async function removeTree(root: string): Promise<void> {
  const open = async (folder: string): Promise<void> => {
    await chmod(toSystemPath(folder), 0o700);
    for (const entry of await readdir(toSystemPath(folder), { encoding: 'buffer', withFileTypes: true })) {
      if (entry.isDirectory()) await open(posix.join(folder, pathFromBytes(entry.name)));
    }
  };
  await open(root);
  await rm(root, { recursive: true });
}

/**
 * What two trees have to agree on to be the same, a line an entry: relative path, type, mode, owner, time to the nanosecond,
 * link target, content's hash, and which other path it shares a file with. The root's own mode and time are left out.
 * `timeStepNs` above 1 cuts times off to it.
 */
export async function describeTree(root: string, timeStepNs = 1n): Promise<string[]> {
  const lines: string[] = [];
  const firstPathOf = new Map<bigint, string>();
  const visit = async (relative: string): Promise<void> => {
    const names = await readdir(toSystemPath(posix.join(root, relative)), { encoding: 'buffer' });
    for (const name of names.toSorted((a, b) => Buffer.compare(a, b))) {
      const path = posix.join(relative, pathFromBytes(name));
      lines.push(await describeEntry(root, path, firstPathOf, timeStepNs));
      if ((await lstat(toSystemPath(posix.join(root, path)))).isDirectory()) await visit(path);
    }
  };
  await visit('');
  return lines;
}

async function describeEntry(root: string, relative: string, firstPathOf: Map<bigint, string>, timeStepNs: bigint): Promise<string> {
  const path = toSystemPath(posix.join(root, relative));
  const found = await lstat(path, { bigint: true });
  const parts = [
    JSON.stringify(relative),
    found.mode.toString(8),
    `${String(found.uid)}:${String(found.gid)}`,
    String(found.mtimeNs / timeStepNs),
  ];
  if (found.isSymbolicLink()) parts.push(`-> ${(await readlink(path, { encoding: 'buffer' })).toString('latin1')}`);
  if (found.isFile()) {
    const first = firstPathOf.get(found.ino);
    firstPathOf.set(found.ino, first ?? relative);
    parts.push(
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    );
    if (first !== undefined) parts.push(`= ${JSON.stringify(first)}`);
  }
  return parts.join(' ');
}

/** Any small tree. Names are any bytes, distinct within a folder, modes leave the owner a way in, times are of this century or the last. */
export function treeArbitrary(): fc.Arbitrary<TreeEntry[]> {
  const name = fc
    .oneof(
      fc.stringMatching(/^[a-z]{1,4}$/),
      fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }).filter((text) => text.isWellFormed()),
      fc.uint8Array({ minLength: 1, maxLength: 6 }).map(pathFromBytes),
    )
    .filter((text) => text !== '.' && text !== '..' && !/[/\0]/.test(text));
  const modifiedSeconds = fc.integer({ min: 0, max: 4_000_000_000 }).map((eighths) => eighths / 8);
  const mode = fc.integer({ min: 0, max: 0o7777 });
  const content = fc.uint8Array({ maxLength: 3_000 });
  const leaf = fc.oneof(
    fc.record({ type: fc.constant('file' as const), content, mode: mode.map((bits) => bits | 0o400), modifiedSeconds }),
    fc.record({ type: fc.constant('symlink' as const), linkTarget: fc.oneof(fc.stringMatching(/^[a-z./]{1,20}$/), name), modifiedSeconds }),
    fc.record({ type: fc.constant('hard-link' as const) }),
    fc.record({ type: fc.constant('dir' as const), mode: mode.map((bits) => bits | 0o700), modifiedSeconds }),
  );
  const step = fc.record({ name, leaf, parent: fc.nat(20), existing: fc.nat(20) });
  return fc.array(step, { maxLength: 20 }).map((steps) => {
    const entries: TreeEntry[] = [];
    const taken = new Set<string>();
    for (const { name: ownName, leaf: own, parent, existing } of steps) {
      const folders = ['', ...entries.filter(({ type }) => type === 'dir').map(({ path }) => path)];
      const path = posix.join(folders[parent % folders.length] ?? '', ownName);
      if (taken.has(path)) continue;
      taken.add(path);
      if (own.type !== 'hard-link') {
        entries.push({ ...own, path });
        continue;
      }
      const files = entries.filter(({ type }) => type === 'file').map((entry) => entry.path);
      const linked = files[existing % Math.max(files.length, 1)];
      if (linked !== undefined) entries.push({ type: 'hard-link', path, existing: linked });
    }
    return entries;
  });
}
