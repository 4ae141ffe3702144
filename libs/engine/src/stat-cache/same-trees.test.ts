import { loadSystemCalls } from '@holdfast/sources/system-calls';
import fc from 'fast-check';
import { appendFile, chmod, link, lstat, mkdir, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { check } from '../checker.ts';
import { makeCachedBackups } from '../testing/cached-backups.ts';
import { impatientClock } from '../testing/test-repository.ts';

/** What people and programs do to a tree, at a place that is chosen by a number. */
interface Change {
  readonly kind: (typeof kinds)[number];
  readonly at: number;
  readonly to: number;
}

const kinds = [
  'write',
  'same size',
  'append',
  'touch',
  'chmod',
  'rename',
  'attribute',
  'symlink instead',
  'folder instead',
  'new file',
  'new folder',
  'remove',
  'hard link',
  'write and put the time back',
] as const;

const change = fc.record({ kind: fc.constantFrom(...kinds), at: fc.nat(1000), to: fc.nat(1000) });

const chosen = (paths: readonly string[], at: number): string | undefined => paths[at % Math.max(1, paths.length)];

async function apply(root: string, { kind, at, to }: Change): Promise<void> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const pathsOf = (wanted: typeof entries): string[] => wanted.map((entry) => join(entry.parentPath, entry.name)).toSorted();
  const folders = [root, ...pathsOf(entries.filter((entry) => entry.isDirectory()))];
  const folder = chosen(folders, to) ?? root;
  const file = chosen(pathsOf(entries.filter((entry) => entry.isFile())), at);
  const any = chosen(pathsOf(entries), at);
  if (kind === 'new folder') await mkdir(join(folder, `folder-${at}`), { recursive: true });
  else if (kind === 'new file') await writeFile(join(folder, `new-${at}`), `new ${to}`);
  else if (any !== undefined && kind === 'chmod') await chmodIfPossible(any, 0o700 | (to % 0o100));
  else if (any !== undefined && kind === 'rename') {
    if (!`${folder}/`.startsWith(`${any}/`)) await rename(any, join(folder, `moved-${to}-${at}`));
  } else if (any !== undefined && kind === 'remove') await rm(any, { recursive: true });
  else if (any !== undefined && (kind === 'symlink instead' || kind === 'folder instead')) {
    await rm(any, { recursive: true });
    await (kind === 'symlink instead' ? symlink(`../to-${to}`, any) : mkdir(any));
  } else if (file !== undefined) await applyToFile(file, { kind, at, to }, folder);
}

async function applyToFile(file: string, { kind, at, to }: Change, folder: string): Promise<void> {
  const before = await lstat(file);
  if (kind === 'append') await appendFile(file, `more ${to}`);
  else if (kind === 'touch') await utimes(file, to, to);
  else if (kind === 'attribute') loadSystemCalls()?.setAttribute(file, 'user.note', Buffer.from(`${to}`));
  else if (kind === 'hard link') await link(file, join(folder, `link-${at}-${to}-${Math.floor(before.ctimeMs)}`));
  else await writeFile(file, kind === 'write' ? `written ${to}` : String(to % 10).repeat(before.size));
  if (kind === 'write and put the time back') await utimes(file, before.atime, before.mtime);
}

async function chmodIfPossible(path: string, mode: number): Promise<void> {
  if (!(await lstat(path)).isSymbolicLink()) await chmod(path, mode);
}

describe('backups with a stat cache', () => {
  it('have the trees that those without have, whatever changes', async () => {
    const rounds = fc.array(fc.array(change, { maxLength: 6 }), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(rounds, async (changes) => {
        await using backups = await makeCachedBackups();
        for (const folder of ['a/b', 'c', 'c/d/e']) await mkdir(join(backups.root, folder), { recursive: true });
        for (const name of ['one', 'a/two', 'a/b/three', 'c/four', 'c/d/e/five', 'c/d/e/ünï"x']) {
          await writeFile(join(backups.root, name), `this is ${name}`);
        }
        await backups.backUp();
        for (const round of changes) {
          for (const one of round) await apply(backups.root, one);
          const cached = await backups.backUp();
          const plain = await backups.backUp({ isCached: false });
          const whole = await backups.backUp({ isCached: false, isFirst: true });
          expect(await backups.rootTreeId(cached)).toBe(await backups.rootTreeId(whole));
          expect(await backups.rootTreeId(plain)).toBe(await backups.rootTreeId(whole));
          for (const name of ['totalFilesProcessed', 'totalBytesProcessed'] as const)
            expect(cached.summary[name]).toBe(whole.summary[name]);
          const folderCounts = [cached, whole].map(({ summary }) => summary.dirsNew + summary.dirsChanged + summary.dirsUnmodified);
          expect(folderCounts[0]).toBe(folderCounts[1]);
        }
        const { findings } = await check({ repository: backups.repository, level: 'full', clock: impatientClock });
        expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});
