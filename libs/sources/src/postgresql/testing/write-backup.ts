import { createWriteStream } from 'node:fs';
import { cp, mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import type { BaseBackupEntry } from '../base-backup/base-backup.ts';

type Kind<K extends BaseBackupEntry['kind']> = Extract<BaseBackupEntry, { kind: K }>;

export interface WrittenBackup {
  readonly start: Kind<'start'>;
  readonly end: Kind<'end'>;
  readonly manifest: Buffer;
}

/**
 * Writes a base backup as a data folder, its tablespaces into `tablespaces/<oid>` beside it, with links, as pg_basebackup would. Without
 * WAL.
 */
export async function writeBackup(entries: AsyncIterable<BaseBackupEntry>, dataDir: string): Promise<WrittenBackup> {
  let start: Kind<'start'> | undefined;
  let end: Kind<'end'> | undefined;
  let manifest: Buffer | undefined;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  for await (const entry of entries) {
    switch (entry.kind) {
      case 'start':
        start = entry;
        for (const { oid } of entry.tablespaces) {
          const folder = join(dataDir, '..', 'tablespaces', String(oid));
          await mkdir(folder, { recursive: true, mode: 0o700 });
          await mkdir(join(dataDir, 'pg_tblspc'), { recursive: true, mode: 0o700 });
          await symlink(folder, join(dataDir, 'pg_tblspc', String(oid)));
        }
        break;
      case 'directory':
        await mkdir(join(dataDir, entry.path), { recursive: true, mode: entry.mode });
        break;
      case 'symlink':
        await symlink(entry.linkTarget, join(dataDir, entry.path));
        break;
      case 'file':
        await writeContent(join(dataDir, entry.path), entry);
        break;
      case 'manifest':
        manifest = entry.bytes;
        await writeFile(join(dataDir, 'backup_manifest'), entry.bytes);
        break;
      case 'end':
        end = entry;
        break;
    }
  }
  if (start === undefined || end === undefined || manifest === undefined) throw new Error('the backup was not whole');
  return { start, end, manifest };
}

/** The finishing by hand: all WAL that the source has at this moment, into the copy. */
export async function copyWal(fromDataDir: string, dataDir: string): Promise<void> {
  for (const name of await readdir(join(fromDataDir, 'pg_wal'))) {
    if (/^[0-9A-F]{24}$|\.history$/u.test(name)) await cp(join(fromDataDir, 'pg_wal', name), join(dataDir, 'pg_wal', name));
  }
}

async function writeContent(path: string, entry: Kind<'file'>): Promise<void> {
  const file = createWriteStream(path, { mode: entry.mode });
  for await (const slice of entry.content) if (!file.write(Buffer.from(slice))) await once(file, 'drain');
  file.end();
  await once(file, 'close');
  await utimes(path, entry.modifiedS, entry.modifiedS);
}

/** Lines of `<oid> <folder>`, which are where the source had them; the server makes its links by them when it starts. */
export async function rewriteTablespaceMap(dataDir: string, { tablespaces }: Kind<'start'>): Promise<void> {
  if (tablespaces.length === 0) return;
  const lines = tablespaces.map(({ oid }) => `${oid} ${join(dataDir, '..', 'tablespaces', String(oid))}\n`);
  await writeFile(join(dataDir, 'tablespace_map'), lines.join(''));
}
