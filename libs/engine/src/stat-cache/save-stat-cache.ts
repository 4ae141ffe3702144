import { errnoCode } from '@holdfast/errors/errno-code';
import { leftOut } from '@holdfast/sources/folder-record';
import { gidWord, modeWord, uidWord, wordsPerStat } from '@holdfast/sources/stat-words';
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FolderToCache } from './cached-folders.ts';
import { encodeStatCache, type StatCacheHead } from './stat-cache-file.ts';
import { statCacheSuffix, type StatCache } from './stat-cache.ts';

/** Of entries; a larger source is walked without, since the cache is in memory while it is used (some 100 bytes an entry). */
const maxEntryCount = 2_000_000;
/** In one folder; beyond it the oldest go. */
const maxFileCount = 4096;
/** As many as one call takes: IOV_MAX of Linux. */
const partsPerWrite = 1024;

/**
 * Replaces what there was by `folders`, of which the first is the top. With too many it leaves none. Throws what node:fs does; what was
 * there before, or nothing, is there then.
 */
export async function saveStatCache(
  { path, key, records }: StatCache,
  head: Omit<StatCacheHead, 'key' | 'users' | 'groups'>,
  folders: readonly FolderToCache[],
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const entryCount = folders.reduce((sum, { stats }) => sum + stats.length / wordsPerStat, 0);
  if (entryCount > maxEntryCount) return await rm(path, { force: true });
  const { users, groups } = ownersIn(folders);
  const whole: StatCacheHead = {
    key,
    ...head,
    users: users.map((uid) => [uid, records.userName(uid) ?? null] as const),
    groups: groups.map((gid) => [gid, records.groupName(gid) ?? null] as const),
  };
  // A reader sees the whole file or none of it. After a crash of the machine it may be a part: the checksum tells.
  const temporary = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    await using file = await open(temporary, 'wx', 0o600);
    await writeParts(file, encodeStatCache(whole, folders));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await removeOldest(dirname(path));
}

async function writeParts(file: FileHandle, parts: Iterable<Uint8Array>): Promise<void> {
  let waiting: Uint8Array[] = [];
  const write = async (): Promise<void> => {
    const bytes = waiting.reduce((sum, part) => sum + part.length, 0);
    const { bytesWritten } = await file.writev(waiting);
    // As on a full disk.
    if (bytesWritten !== bytes) throw Object.assign(new Error('ENOSPC: a write was cut short'), { code: 'ENOSPC' });
    waiting = [];
  };
  for (const part of parts) {
    if (part.length > 0) waiting.push(part);
    if (waiting.length === partsPerWrite) await write();
  }
  if (waiting.length > 0) await write();
}

function ownersIn(folders: readonly FolderToCache[]): { users: number[]; groups: number[] } {
  const [users, groups] = [new Set<number>(), new Set<number>()];
  let [lastUid, lastGid] = [-1, -1];
  for (const { stats } of folders) {
    for (let at = 0; at < stats.length; at += wordsPerStat) {
      if (stats[at + modeWord] === leftOut) continue;
      const uid = stats[at + uidWord] ?? 0;
      const gid = stats[at + gidWord] ?? 0;
      if (uid !== lastUid) users.add(uid);
      if (gid !== lastGid) groups.add(gid);
      lastUid = uid;
      lastGid = gid;
    }
  }
  return { users: [...users], groups: [...groups] };
}

/** Caches of backups that nobody makes any more, and what a process that died has left. */
async function removeOldest(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.includes(statCacheSuffix));
  if (names.length <= maxFileCount) return;
  const dated: { path: string; modifiedMs: number }[] = [];
  for (const name of names) {
    const path = join(folder, name);
    // Another backup may have renamed or removed it.
    const found = await stat(path).catch((error: unknown) => (errnoCode(error) === 'ENOENT' ? undefined : Promise.reject(error)));
    if (found !== undefined) dated.push({ path, modifiedMs: found.mtimeMs });
  }
  const oldest = dated.toSorted((a, b) => a.modifiedMs - b.modifiedMs).slice(0, names.length - maxFileCount);
  for (const { path } of oldest) await rm(path, { force: true });
}
