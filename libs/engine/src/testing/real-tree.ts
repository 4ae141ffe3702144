import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, link, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { noise } from './test-repository.ts';

const run = promisify(execFile);

/** Makes a folder that holds one of everything that a backup can meet on a disk. Needs GNU touch and mkfifo. */
export async function makeRealTree(root: string): Promise<void> {
  await mkdir(`${root}/sub/deep/deeper`, { recursive: true });
  await mkdir(`${root}/empty folder`);
  await writeFile(`${root}/empty`, '');
  await writeFile(`${root}/small.txt`, 'small\n');
  await writeFile(`${root}/random.bin`, noise(12_000_000, 5));
  await writeFile(`${root}/text.sql`, 'insert into t values (1, 2, 3);\n'.repeat(150_000));
  await writeFile(`${root}/sub/same.bin`, noise(3_000_000, 6));
  await writeFile(`${root}/sub/deep/same-again.bin`, noise(3_000_000, 6));
  for (let nth = 0; nth < 200; nth++) await writeFile(`${root}/sub/deep/deeper/file-${nth}`, `content of ${nth}`);
  const names = [
    'quote"s',
    'back\\slash',
    'new\nline',
    'tab\tbed',
    'ümläut',
    '日本語',
    '<&>',
    '\u2028',
    ' blank ',
    'a',
    'a-b',
    'a.b',
    'B',
    '~',
  ];
  for (const name of names) await writeFile(`${root}/sub/${name}`, name);
  await symlink('small.txt', `${root}/link`);
  await symlink('/nowhere/at all', `${root}/sub/dangling`);
  await link(`${root}/sub/same.bin`, `${root}/hard-link`);
  await link(`${root}/small.txt`, `${root}/sub/hard-link`);
  await run('mkfifo', [`${root}/sub/pipe`]);
  await chmod(`${root}/small.txt`, 0o4751);
  await chmod(`${root}/sub/deep`, 0o1777);
  await chmod(`${root}/sub/a`, 0o000);
  await chmod(`${root}/empty folder`, 0o2700);
  await run('touch', ['--date=1999-12-31T23:59:59.123456789Z', `${root}/random.bin`]);
  await run('touch', ['--date=2038-01-20T00:00:00.000000001Z', `${root}/sub/deep/deeper`]);
  await run('touch', ['--no-dereference', '--date=2001-02-03T04:05:06.7Z', `${root}/link`]);
}

/** All that must be the same after a restore, a line an entry: type, mode, time in ns, size, hash or link target, first name of a hard link. */
export async function describeRealTree(root: string): Promise<string[]> {
  const lines: string[] = [];
  const firstNames = new Map<bigint, string>();
  const walk = async (folder: Buffer, relative: string): Promise<void> => {
    for (const name of (await readdir(folder, { encoding: 'buffer' })).toSorted((a, b) => Buffer.compare(a, b))) {
      const path = Buffer.concat([folder, Buffer.from('/'), name]);
      const shown = `${relative}/${name.toString('latin1')}`;
      const stat = await lstat(path, { bigint: true });
      const mode = stat.isSymbolicLink() ? '' : (stat.mode & 0o7777n).toString(8);
      let content = '';
      if (stat.isFile())
        content = `${stat.size} ${createHash('sha256')
          .update(await readFile(path))
          .digest('hex')}`;
      if (stat.isSymbolicLink()) content = (await readlink(path, { encoding: 'buffer' })).toString('latin1');
      if (stat.isFile() && stat.nlink > 1n) {
        if (!firstNames.has(stat.ino)) firstNames.set(stat.ino, shown);
        content += ` = ${firstNames.get(stat.ino)}`;
      }
      lines.push(`${shown} ${(stat.mode & 0o170000n).toString(8)} ${mode} ${stat.mtimeNs} ${stat.uid}:${stat.gid} ${content}`);
      if (stat.isDirectory()) await walk(path, shown);
    }
  };
  await walk(Buffer.from(root), '');
  return lines;
}
