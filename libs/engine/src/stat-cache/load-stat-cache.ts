import { errnoCode } from '@holdfast/errors/errno-code';
import type { SourceRecords } from '@holdfast/sources/source';
import { open } from 'node:fs/promises';
import { decodeStatCache, type StatCacheData } from './stat-cache-file.ts';

/** More than the largest source takes that is recorded, unless its names are very long. */
const maxFileBytes = 512 * 1024 * 1024;

/** What the file holds, if it is whole, has the key, and the owners have the names that they had. Never an error: null then. */
export async function loadStatCache(path: string, key: string, records: SourceRecords): Promise<StatCacheData | null> {
  const bytes = await readWhole(path);
  const data = bytes === null ? null : decodeStatCache(bytes);
  if (data === null || data.key !== key) return null;
  const isSame =
    data.users.every(([uid, name]) => (records.userName(uid) ?? null) === name) &&
    data.groups.every(([gid, name]) => (records.groupName(gid) ?? null) === name);
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
