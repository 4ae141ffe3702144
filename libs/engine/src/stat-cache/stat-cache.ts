import { errnoCode } from '@holdfast/errors/errno-code';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import type { SourceRecords } from '@holdfast/sources/source';
import { gidWord, modeWord, uidWord, wordsPerStat } from '@holdfast/sources/stat-words';
import { leftOut } from '@holdfast/sources/folder-record';
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderToCache } from './cached-folders.ts';
import { decodeStatCache, encodeStatCache, type StatCacheData, type StatCacheHead } from './stat-cache-file.ts';

/**
 * The stat cache: what the system told of every folder and file of the last backup, in a file beside the program, so that the next one
 * need not read of the repository what has not changed. It is only a cache: whatever is odd about it, there is none.
 */

/** Of entries; a larger source is walked without, since the cache is in memory while it is used (some 100 bytes an entry). */
const maxEntryCount = 2_000_000;
const maxFileBytes = 512 * 1024 * 1024;
/** In one folder; beyond it the oldest go. */
const maxFileCount = 4096;
const suffix = '.stats';
/** Gathered to one write. */
const chunkBytes = 1024 * 1024;

/** Caches of the same key are for the same backup: of the same host, paths and rules, into the same repository. */
export function statCacheKey(of: { repositoryId: ObjectId; hostname: string; rules: string }): string {
  return hashOf(Buffer.from(JSON.stringify([of.repositoryId, of.hostname, of.rules])));
}

/** What the cache holds for the snapshot with this root tree, if the owners have the names that they had. Never an error: null then. */
export async function loadStatCache(
  folder: string,
  wanted: { key: string; treeId: ObjectId; records: SourceRecords },
): Promise<StatCacheData | null> {
  const bytes = await readWhole(join(folder, `${wanted.key}${suffix}`));
  const data = bytes === null ? null : decodeStatCache(bytes);
  if (data === null || data.key !== wanted.key || data.treeId !== wanted.treeId) return null;
  const { users, groups } = data;
  const isSame =
    users.every(([uid, name]) => (wanted.records.userName(uid) ?? null) === name) &&
    groups.every(([gid, name]) => (wanted.records.groupName(gid) ?? null) === name);
  return isSame ? data : null;
}

async function readWhole(path: string): Promise<Uint8Array | null> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    if (size > maxFileBytes) return null;
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const { bytesRead } = await file.read(bytes, done, size - done, done);
      if (bytesRead === 0) return null;
      done += bytesRead;
    }
    return bytes;
  } catch (error) {
    if (errnoCode(error) === undefined) throw error;
    return null;
  }
}

/**
 * Replaces what there was by `folders`, of which the first is the top. With too many it leaves none. Throws what node:fs does; what was
 * there before, or nothing, is there then.
 */
export async function saveStatCache(
  folder: string,
  head: Pick<StatCacheHead, 'key' | 'treeId' | 'indexIds'>,
  folders: readonly FolderToCache[],
  records: SourceRecords,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${head.key}${suffix}`);
  const entryCount = folders.reduce((sum, { stats }) => sum + stats.length / wordsPerStat, 0);
  if (entryCount > maxEntryCount) return await rm(path, { force: true });
  const { users, groups } = ownersIn(folders);
  const whole: StatCacheHead = {
    ...head,
    users: users.map((uid) => [uid, records.userName(uid) ?? null] as const),
    groups: groups.map((gid) => [gid, records.groupName(gid) ?? null] as const),
  };
  // A reader sees the whole file or none of it. After a crash of the machine it may be a part: the checksum tells.
  const temporary = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    await using file = await open(temporary, 'wx', 0o600);
    await writeChunks(file, encodeStatCache(whole, folders));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await removeOldest(folder);
}

async function writeChunks(file: FileHandle, parts: Iterable<Uint8Array>): Promise<void> {
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  for (const part of parts) {
    waiting.push(part);
    waitingBytes += part.length;
    if (waitingBytes < chunkBytes) continue;
    await file.writeFile(Buffer.concat(waiting));
    [waiting, waitingBytes] = [[], 0];
  }
  await file.writeFile(Buffer.concat(waiting));
}

function ownersIn(folders: readonly FolderToCache[]): { users: number[]; groups: number[] } {
  const [users, groups] = [new Set<number>(), new Set<number>()];
  let [lastUid, lastGid] = [-1, -1];
  for (const { stats } of folders) {
    for (let at = 0; at < stats.length; at += wordsPerStat) {
      if (stats[at + modeWord] === leftOut) continue;
      const [uid, gid] = [stats[at + uidWord] ?? 0, stats[at + gidWord] ?? 0];
      if (uid !== lastUid) users.add(uid);
      if (gid !== lastGid) groups.add(gid);
      [lastUid, lastGid] = [uid, gid];
    }
  }
  return { users: [...users], groups: [...groups] };
}

/** Caches of backups that nobody makes any more, and what a process that died has left. */
async function removeOldest(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.includes(suffix));
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
