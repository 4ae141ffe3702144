import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, link, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const run = promisify(execFile);

/** Makes a folder with what real folders have: text, random bytes, links, empty things, odd names, modes and old times. */
export async function makeDataTree(folder: string, randomFileSizesBytes: readonly number[] = [3_000_000]): Promise<void> {
  await mkdir(join(folder, 'docs/deep/er'), { recursive: true });
  await mkdir(join(folder, 'empty'));
  for (let i = 0; i < 40; i++) await writeFile(join(folder, 'docs', `note-${i}.txt`), `note ${i}\n`.repeat(i * 50));
  await writeFile(join(folder, 'docs/deep/er/naïve "quoted" \\ <&> name.txt'), 'odd name\n');
  await writeFile(join(folder, 'docs/zero'), '');
  for (const [i, sizeBytes] of randomFileSizesBytes.entries()) await writeFile(join(folder, `random-${i}.bin`), randomBytes(sizeBytes));
  await symlink('docs/note-1.txt', join(folder, 'to-note'));
  await symlink('/nowhere/at/all', join(folder, 'dangling'));
  await link(join(folder, 'docs/note-2.txt'), join(folder, 'docs/note-2-again.txt'));
  await writeFile(join(folder, 'script.sh'), '#!/bin/sh\necho hi\n');
  await chmod(join(folder, 'script.sh'), 0o755);
  await chmod(join(folder, 'docs/note-3.txt'), 0o600);
  await utimes(join(folder, 'docs/note-4.txt'), 1_000_000_000, 1_000_000_000);
}

/** One line an entry: path, type, mode, size, modification time in ms, and content by hash: what a recovery must bring back. */
export async function describeTree(folder: string): Promise<string[]> {
  const lines: string[] = [];
  const visit = async (path: string): Promise<void> => {
    for (const name of (await readdir(join(folder, path))).toSorted()) {
      const at = join(path, name);
      const full = join(folder, at);
      const stat = await lstat(full);
      const mode = (stat.mode & 0o7777).toString(8);
      if (stat.isDirectory()) {
        lines.push(`${at} dir ${mode} ${Math.floor(stat.mtimeMs)}`);
        await visit(at);
      } else if (stat.isSymbolicLink()) {
        lines.push(`${at} symlink -> ${await readlink(full)} ${Math.floor(stat.mtimeMs)}`);
      } else {
        const hash = createHash('sha256')
          .update(await readFile(full))
          .digest('hex');
        lines.push(`${at} file ${mode} ${stat.size} ${Math.floor(stat.mtimeMs)} links ${stat.nlink} ${hash}`);
      }
    }
  };
  await visit('');
  return lines;
}
