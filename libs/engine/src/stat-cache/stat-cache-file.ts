import { isObjectId, objectIdBytes, type ObjectId } from '@holdfast/restic-format/object-id';
import { wordsPerStat } from '@holdfast/sources/stat-words';
import { createHash } from 'node:crypto';
import type { CachedFolders, FolderToCache } from './cached-folders.ts';

/**
 * The file of a stat cache: eight bytes of magic with the version, a u32 with the length of a JSON header, the header padded with blanks
 * to a multiple of four, the columns of CachedFolders (u32 little-endian), the names, and the SHA-256 of all before.
 */
export interface StatCacheHead {
  /** For the same location, host, paths and rules it is the same. */
  readonly key: string;
  readonly repositoryId: ObjectId;
  /** The root tree of the snapshot that it was written for. */
  readonly treeId: ObjectId;
  /** Index files that name every blob of that snapshot, as long as all of them are there. */
  readonly indexIds: readonly ObjectId[];
  /** Numbers of the owners, and the names that they had. */
  readonly users: readonly (readonly [number, string | null])[];
  readonly groups: readonly (readonly [number, string | null])[];
}

export interface StatCacheData extends StatCacheHead {
  readonly folders: CachedFolders;
}

/** The last digit is the version: other contents, another digit. */
const magic = 'HFSTATS1';
const checksumBytes = 32;
const headStart = magic.length + 4;
const wordBytes = 4;

interface Sizes {
  readonly folderCount: number;
  readonly entryCount: number;
  readonly childCount: number;
  readonly nameBytes: number;
}

/** The file in parts, so that it need not be in memory once more. */
export function* encodeStatCache(head: StatCacheHead, folders: readonly FolderToCache[]): Generator<Uint8Array> {
  const checksum = createHash('sha256');
  for (const part of partsOf(head, folders)) {
    checksum.update(part);
    yield part;
  }
  yield checksum.digest();
}

function* partsOf(head: StatCacheHead, folders: readonly FolderToCache[]): Generator<Uint8Array> {
  const entryStarts = startsOf(folders, ({ stats }) => stats.length / wordsPerStat);
  const nameStarts = startsOf(folders, ({ names }) => names.length);
  const childStarts = startsOf(folders, ({ children }) => children.length);
  const sizes: Sizes = {
    folderCount: folders.length,
    entryCount: entryStarts.at(-1) ?? 0,
    childCount: childStarts.at(-1) ?? 0,
    nameBytes: nameStarts.at(-1) ?? 0,
  };
  const json = Buffer.from(JSON.stringify({ ...head, sizes }));
  const padded = Buffer.alloc(Math.ceil(json.length / wordBytes) * wordBytes, ' ');
  json.copy(padded);
  const length = Buffer.alloc(wordBytes);
  length.writeUInt32LE(padded.length);
  yield Buffer.concat([Buffer.from(magic), length, padded]);
  yield Buffer.concat(folders.map(({ treeId }) => treeId));
  for (const starts of [entryStarts, nameStarts, childStarts]) yield bytesOf(starts);
  yield bytesOf(Uint32Array.from(folders, ({ isChosen }) => Number(isChosen)));
  const children = folders.flatMap((folder) => folder.children);
  for (const nth of [0, 1] as const) yield bytesOf(Uint32Array.from(children, (child) => child[nth]));
  for (const { stats } of folders) yield bytesOf(stats);
  for (const { names } of folders) yield names;
}

function startsOf(folders: readonly FolderToCache[], sizeOf: (folder: FolderToCache) => number): Uint32Array {
  const starts = new Uint32Array(folders.length + 1);
  folders.forEach((folder, nth) => (starts[nth + 1] = (starts[nth] ?? 0) + sizeOf(folder)));
  return starts;
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Null for anything that is not wholly such a file of this version: it is then as if there were none. `bytes` begin a buffer of their own. */
export function decodeStatCache(bytes: Uint8Array): StatCacheData | null {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < headStart + checksumBytes || bytes.byteOffset % wordBytes !== 0) return null;
  if (buffer.toString('latin1', 0, magic.length) !== magic) return null;
  const content = buffer.subarray(0, buffer.length - checksumBytes);
  if (!createHash('sha256').update(content).digest().equals(buffer.subarray(content.length))) return null;
  const columnsStart = headStart + buffer.readUInt32LE(magic.length);
  if (columnsStart > content.length || columnsStart % wordBytes !== 0) return null;
  const head = parseHead(buffer.toString('utf8', headStart, columnsStart));
  if (head === null) return null;
  const folders = readColumns(content, columnsStart, head.sizes);
  return folders === null ? null : { ...head.head, folders };
}

function readColumns(content: Buffer, start: number, sizes: Sizes): CachedFolders | null {
  const { folderCount, entryCount, childCount, nameBytes } = sizes;
  const wordCount = 3 * (folderCount + 1) + folderCount + 2 * childCount + entryCount * wordsPerStat;
  if (start + folderCount * objectIdBytes + wordCount * wordBytes + nameBytes !== content.length) return null;
  let at = start;
  const bytes = (length: number): Uint8Array => {
    at += length;
    return new Uint8Array(content.buffer, content.byteOffset + at - length, length);
  };
  const words = (count: number): Uint32Array => {
    at += count * wordBytes;
    return new Uint32Array(content.buffer, content.byteOffset + at - count * wordBytes, count);
  };
  const folders: CachedFolders = {
    count: folderCount,
    treeIds: bytes(folderCount * objectIdBytes),
    entryStarts: words(folderCount + 1),
    nameStarts: words(folderCount + 1),
    childStarts: words(folderCount + 1),
    chosen: words(folderCount),
    childEntries: words(childCount),
    childFolders: words(childCount),
    stats: words(entryCount * wordsPerStat),
    names: bytes(nameBytes),
  };
  const isInOrder =
    isAscending(folders.entryStarts, entryCount) &&
    isAscending(folders.nameStarts, nameBytes) &&
    isAscending(folders.childStarts, childCount);
  return isInOrder && areChildrenBehind(folders) ? folders : null;
}

function isAscending(starts: Uint32Array, end: number): boolean {
  return starts[0] === 0 && starts.at(-1) === end && starts.every((start, nth) => nth === 0 || (starts[nth - 1] ?? 0) <= start);
}

/** Each folder is the child of one before it, so that going through them ends. */
function areChildrenBehind({ count, childStarts, childFolders }: CachedFolders): boolean {
  for (let folder = 0; folder < count; folder++) {
    for (let nth = childStarts[folder] ?? 0; nth < (childStarts[folder + 1] ?? 0); nth++) {
      const child = childFolders[nth] ?? 0;
      if (child <= folder || child >= count) return false;
    }
  }
  return true;
}

function parseHead(json: string): { head: StatCacheHead; sizes: Sizes } | null {
  const { key, repositoryId, treeId, indexIds, users, groups, sizes } = parseObject(json);
  if (typeof key !== 'string' || !isObjectId(repositoryId) || !isObjectId(treeId) || !isArrayOf(indexIds, isObjectId)) return null;
  if (!isArrayOf(users, isOwner) || !isArrayOf(groups, isOwner) || !isSizes(sizes)) return null;
  return { head: { key, repositoryId, treeId, indexIds, users, groups }, sizes };
}

function parseObject(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    return isRecord(value) ? value : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isArrayOf<T>(value: unknown, isOne: (one: unknown) => one is T): value is T[] {
  return Array.isArray(value) && value.every(isOne);
}

function isOwner(value: unknown): value is readonly [number, string | null] {
  return Array.isArray(value) && typeof value[0] === 'number' && (typeof value[1] === 'string' || value[1] === null);
}

function isSizes(value: unknown): value is Sizes & Record<string, unknown> {
  if (!isRecord(value)) return false;
  return [value['folderCount'], value['entryCount'], value['childCount'], value['nameBytes']].every(
    (size) => Number.isSafeInteger(size) && Number(size) >= 0,
  );
}
