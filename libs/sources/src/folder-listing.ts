import type { BigIntStats } from 'node:fs';
import { constants, readlinkSync } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { posix } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { isVanished } from './file-system-error.ts';
import type { FolderScan, ScannedStat } from './folder-scan.ts';
import type { OwnerNames } from './owner-names.ts';
import type { NodeType, ReadDirectoryOptions, SourceEntry, SourceNode } from './source.ts';
import { loadSystemCalls } from './system-calls.ts';
import { pathFromBytes, printablePath, type SystemPath } from './system-path.ts';
import type { VerifiedFolder } from './verified-folder.ts';

/** Names of one folder that are looked at together: enough to keep the thread pool busy. */
const batchSize = 32;

const nodeTypes: ReadonlyMap<number, NodeType> = new Map([
  [constants.S_IFREG, 'file'],
  [constants.S_IFDIR, 'dir'],
  [constants.S_IFLNK, 'symlink'],
  [constants.S_IFBLK, 'dev'],
  [constants.S_IFCHR, 'chardev'],
  [constants.S_IFIFO, 'fifo'],
  [constants.S_IFSOCK, 'socket'],
]);

export interface ListingOptions {
  readonly attributesBefore?: ReadDirectoryOptions['attributesBefore'];
  /** Which absolute paths to leave out. */
  readonly isExcluded: (path: string) => boolean;
  readonly owners: OwnerNames;
  readonly signal?: AbortSignal | undefined;
}

/** What is in a folder, sorted by the bytes of the names; what vanishes meanwhile is not. Errors: those of readdir(3), and the signal's reason. */
export async function listFolder(folder: VerifiedFolder, options: ListingOptions): Promise<SourceEntry[]> {
  const names = (await readdir(folder.itself, { encoding: 'buffer' })).toSorted((a, b) => Buffer.compare(a, b));
  const entries: SourceEntry[] = [];
  for (let begin = 0; begin < names.length; begin += batchSize) {
    options.signal?.throwIfAborted();
    const batch = names.slice(begin, begin + batchSize).map((name) => entriesOf(folder, name, options));
    entries.push(...(await Promise.all(batch)).flat());
  }
  return entries;
}

/** A scan keeps the thread for so many names at most. */
const scanBatchSize = 1024;

/** As listFolder, of a folder that is scanned. */
export async function listScan(path: string, scan: FolderScan, options: ListingOptions): Promise<SourceEntry[]> {
  const entries: SourceEntry[] = [];
  for (let begin = 0; begin < scan.names.length; begin += scanBatchSize) {
    if (begin > 0) await setImmediate();
    options.signal?.throwIfAborted();
    for (const name of scan.names.slice(begin, begin + scanBatchSize)) {
      if (!options.isExcluded(posix.join(path, name))) addScanned(entries, path, scan, name, options);
    }
  }
  return entries;
}

function addScanned(entries: SourceEntry[], path: string, scan: FolderScan, name: string, options: ListingOptions): void {
  const skip = (reason: string): void => {
    entries.push({ kind: 'skipped', skipped: { path: printablePath(posix.join(path, name)), reason } });
  };
  try {
    const found = scan.statAt(name);
    const type = nodeTypes.get(found.mode & constants.S_IFMT);
    if (type === undefined) return skip('is of no known type');
    const node = nodeOf(name, type, found, options.owners);
    if (type === 'symlink') {
      const linkTarget = pathFromBytes(readlinkSync(scan.at(name), { encoding: 'buffer' }));
      entries.push({ kind: 'node', node: { ...node, linkTarget } });
      return;
    }
    const before = options.attributesBefore?.(name, found.inode, found.changedNs) ?? null;
    const { attributes, problem } = before === null ? readAttributes(scan.at(name)) : { attributes: before };
    entries.push({
      kind: 'node',
      node: attributes.size === 0 ? node : { ...node, extendedAttributes: attributes },
    });
    if (problem !== undefined) skip(problem);
  } catch (error) {
    if (isVanished(error)) return;
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    skip(`cannot be looked at (${errno})`);
  }
}

/** Sizes of the regular files in a folder, and the names of its folders: what an estimate needs, and no more. */
export async function measureFolder(
  folder: VerifiedFolder,
  isExcluded: (path: string) => boolean,
): Promise<{ fileSizesBytes: number[]; folders: string[] }> {
  const entries = (await readdir(folder.itself, { encoding: 'buffer', withFileTypes: true }))
    .map((entry) => ({ name: pathFromBytes(entry.name), isFile: entry.isFile(), isFolder: entry.isDirectory() }))
    .filter(({ name }) => !isExcluded(posix.join(folder.path, name)));
  const files = entries.filter(({ isFile }) => isFile);
  const fileSizesBytes: number[] = [];
  for (let begin = 0; begin < files.length; begin += batchSize) {
    const sizes = await Promise.all(files.slice(begin, begin + batchSize).map(({ name }) => sizeIfThere(folder.at(name))));
    fileSizesBytes.push(...sizes.filter((sizeBytes) => sizeBytes !== undefined));
  }
  return { fileSizesBytes, folders: entries.filter(({ isFolder }) => isFolder).map(({ name }) => posix.join(folder.path, name)) };
}

/** As measureFolder, of a folder that is scanned. */
export function measureScan(
  path: string,
  scan: FolderScan,
  isExcluded: (path: string) => boolean,
): { fileSizesBytes: number[]; folders: string[] } {
  const fileSizesBytes: number[] = [];
  const folders: string[] = [];
  for (const name of scan.names) {
    const place = posix.join(path, name);
    if (isExcluded(place)) continue;
    try {
      const { mode, sizeBytes } = scan.statAt(name);
      const type = mode & constants.S_IFMT;
      if (type === constants.S_IFREG) fileSizesBytes.push(sizeBytes);
      if (type === constants.S_IFDIR) folders.push(place);
    } catch (error) {
      if (!isVanished(error) && errnoCode(error) !== 'EACCES') throw error;
    }
  }
  return { fileSizesBytes, folders };
}

async function sizeIfThere(path: SystemPath): Promise<number | undefined> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (isVanished(error) || errnoCode(error) === 'EACCES') return undefined;
    throw error;
  }
}

async function entriesOf(folder: VerifiedFolder, rawName: Buffer, options: ListingOptions): Promise<SourceEntry[]> {
  const skipped = (name: string, reason: string): SourceEntry => ({
    kind: 'skipped',
    skipped: { path: printablePath(posix.join(folder.path, name)), reason },
  });
  const name = pathFromBytes(rawName);
  if (options.isExcluded(posix.join(folder.path, name))) return [];
  try {
    const { node, problem } = await readNode(folder.at(name), name, options.owners);
    const entries: SourceEntry[] = problem === undefined ? [] : [skipped(name, problem)];
    if (node !== undefined) entries.unshift({ kind: 'node', node });
    return entries;
  } catch (error) {
    if (isVanished(error)) return [];
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    return [skipped(name, `cannot be looked at (${errno})`)];
  }
}

/**
 * The node of what is at `path`, symlinks not followed; `problem` says what of it could not be had, and there is no node when
 * that was its essence. Errors: those of lstat(2) and readlink(2).
 */
export async function readNode(
  path: SystemPath,
  name: string,
  owners: OwnerNames,
): Promise<{ readonly node?: SourceNode; readonly problem?: string }> {
  const found = scannedOf(await lstat(path, { bigint: true }));
  const type = nodeTypes.get(found.mode & constants.S_IFMT);
  if (type === undefined) return { problem: 'is of no known type' };
  const node = nodeOf(name, type, found, owners);
  if (type === 'symlink') {
    return { node: { ...node, linkTarget: pathFromBytes(await readlink(path, { encoding: 'buffer' })) } };
  }
  const { attributes, problem } = readAttributes(path);
  return {
    node: attributes.size === 0 ? node : { ...node, extendedAttributes: attributes },
    ...(problem === undefined ? {} : { problem }),
  };
}

function scannedOf(found: BigIntStats): ScannedStat {
  return {
    mode: Number(found.mode),
    linkCount: Number(found.nlink),
    uid: Number(found.uid),
    gid: Number(found.gid),
    inode: found.ino,
    sizeBytes: Number(found.size),
    accessedNs: found.atimeNs,
    changedNs: found.ctimeNs,
    modifiedNs: found.mtimeNs,
    device: found.rdev,
    deviceId: found.dev,
  };
}

function nodeOf(name: string, type: NodeType, found: ScannedStat, owners: OwnerNames): SourceNode {
  const { mode, uid, gid, modifiedNs, accessedNs, changedNs, inode, deviceId, device, sizeBytes, linkCount } = found;
  const [user, group] = [owners.users.get(uid), owners.groups.get(gid)];
  return {
    name,
    type,
    mode: mode & 0o7777,
    modifiedNs,
    accessedNs,
    changedNs,
    uid,
    gid,
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    inode,
    deviceId,
    sizeBytes: type === 'file' ? sizeBytes : 0,
    linkCount: BigInt(linkCount),
    ...(type === 'dev' || type === 'chardev' ? { device } : {}),
  };
}

function readAttributes(path: SystemPath): { attributes: ReadonlyMap<string, Uint8Array>; problem?: string } {
  const attributes = new Map<string, Uint8Array>();
  const calls = loadSystemCalls();
  if (calls === undefined) return { attributes };
  try {
    const { names, unnamableCount } = calls.listAttributes(path);
    for (const name of names) attributes.set(name, calls.getAttribute(path, name));
    if (unnamableCount === 0) return { attributes };
    return { attributes, problem: `stored without ${unnamableCount} extended attributes whose names are not UTF-8` };
  } catch (error) {
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    // No attributes on this file system; or one that went between the two calls, and then the rest is of no use either.
    if (errno === 'EOPNOTSUPP' || errno === 'ENOTSUP') return { attributes };
    if (isVanished(error)) throw error;
    return { attributes, problem: `stored without all of its extended attributes (${errno})` };
  }
}
