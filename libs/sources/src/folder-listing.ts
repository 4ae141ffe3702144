import type { BigIntStats } from 'node:fs';
import { constants, readlinkSync } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { posix } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { readAttributes } from './extended-attributes.ts';
import { isVanished } from './file-system-error.ts';
import type { FolderRecord } from './folder-record.ts';
import type { FolderScan } from './folder-scan.ts';
import { wordsOfStats, type ScannedStat } from './stat-words.ts';
import type { OwnerNames } from './owner-names.ts';
import type { SourceSelection } from './source-selection.ts';
import type { NodeType, ReadDirectoryOptions, SourceEntry, SourceNode } from './source.ts';
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
  readonly names?: ReadonlySet<string>;
  readonly record?: FolderRecord;
  readonly leavesFileAttributes?: ReadDirectoryOptions['leavesFileAttributes'];
  readonly selection: SourceSelection;
  /** Of the source's path above the folder: another one may be left out. */
  readonly device: bigint;
  readonly owners: OwnerNames;
  readonly signal?: AbortSignal | undefined;
}

/** What is in a folder, sorted by the bytes of the names; what vanishes meanwhile is not. Errors: those of readdir(3), and the signal's reason. */
export async function listFolder(folder: VerifiedFolder, options: ListingOptions): Promise<SourceEntry[]> {
  if (await isElsewhere(folder, options)) return [];
  const all = (await readdir(folder.itself, { encoding: 'buffer' })).toSorted((a, b) => Buffer.compare(a, b));
  const names = wantedOf(await options.selection.namesToList((name) => folder.at(name), all.map(pathFromBytes)), options);
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
  if (isScanElsewhere(scan, options)) return entries;
  const { record, selection } = options;
  if (options.names === undefined) record?.begin(scan.listedNames);
  const listed = await selection.namesToList((name) => scan.at(name), scan.names);
  if (listed.length < scan.names.length) leaveOutAllBut(listed, scan, record);
  const names = wantedOf(listed, options);
  for (let begin = 0; begin < names.length; begin += scanBatchSize) {
    if (begin > 0) await setImmediate();
    options.signal?.throwIfAborted();
    for (const name of names.slice(begin, begin + scanBatchSize)) {
      if (selection.excludes(join(path, name))) record?.leaveOut(name);
      else addScanned(entries, path, scan, name, options);
    }
  }
  return entries;
}

function wantedOf(listed: readonly string[], { names }: ListingOptions): readonly string[] {
  return names === undefined ? listed : listed.filter((name) => names.has(name));
}

function leaveOutAllBut(listed: readonly string[], scan: FolderScan, record: FolderRecord | undefined): void {
  const kept = new Set(listed);
  for (const name of scan.names) if (!kept.has(name)) record?.leaveOut(name);
}

function addScanned(entries: SourceEntry[], path: string, scan: FolderScan, name: string, options: ListingOptions): void {
  const skip = (reason: string): void => {
    options.record?.spoil(name);
    entries.push({ kind: 'skipped', skipped: { path: printablePath(join(path, name)), reason } });
  };
  try {
    const found = scan.statAt(name);
    const type = nodeTypes.get(found.mode & constants.S_IFMT);
    if (type === undefined) return skip('is of no known type');
    const node = nodeOf(name, type, found, options.owners);
    const isTaken = options.selection.takes(join(path, name), node, options.device);
    if (options.record !== undefined) scan.record(options.record, name, isTaken);
    if (!isTaken) return;
    if (type === 'symlink') {
      const linkTarget = pathFromBytes(readlinkSync(scan.at(name), { encoding: 'buffer' }));
      entries.push({ kind: 'node', node: { ...node, linkTarget } });
      return;
    }
    const before = options.attributesBefore?.(name, found.inode, found.changedNs) ?? null;
    if (before === null && type === 'file' && options.leavesFileAttributes === true) {
      entries.push({ kind: 'node', node: { ...node, attributesUnread: true } });
      return;
    }
    const { attributes, problem } = before === null ? readAttributes(scan.at(name)) : { attributes: before };
    entries.push({
      kind: 'node',
      node: attributes.size === 0 ? node : { ...node, extendedAttributes: attributes },
    });
    if (problem !== undefined) skip(problem);
  } catch (error) {
    options.record?.spoil(name);
    if (isVanished(error)) return;
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    skip(`cannot be looked at (${errno})`);
  }
}

/** Sizes of the regular files in a folder, and the names of its folders: what an estimate needs, and no more. */
export async function measureFolder(
  folder: VerifiedFolder,
  options: SelectionRules,
): Promise<{ fileSizesBytes: number[]; folders: string[] }> {
  const { selection, device } = options;
  if (await isElsewhere(folder, options)) return { fileSizesBytes: [], folders: [] };
  const all = (await readdir(folder.itself, { encoding: 'buffer', withFileTypes: true })).map((entry) => ({
    name: pathFromBytes(entry.name),
    isFile: entry.isFile(),
    isFolder: entry.isDirectory(),
  }));
  const listed = new Set(
    await selection.namesToList(
      (name) => folder.at(name),
      all.map(({ name }) => name),
    ),
  );
  const entries = all.filter(({ name, isFolder }) => {
    const path = posix.join(folder.path, name);
    if (!listed.has(name) || selection.excludes(path)) return false;
    return !isFolder || selection.takes(path, { type: 'dir', sizeBytes: 0, deviceId: device }, device);
  });
  const files = entries.filter(({ isFile }) => isFile);
  const fileSizesBytes: number[] = [];
  for (let begin = 0; begin < files.length; begin += batchSize) {
    const sizes = await Promise.all(files.slice(begin, begin + batchSize).map(({ name }) => sizeIfTaken(folder, name, options)));
    fileSizesBytes.push(...sizes.filter((sizeBytes) => sizeBytes !== undefined));
  }
  return { fileSizesBytes, folders: entries.filter(({ isFolder }) => isFolder).map(({ name }) => posix.join(folder.path, name)) };
}

/** As measureFolder, of a folder that is scanned. */
export async function measureScan(
  path: string,
  scan: FolderScan,
  { selection, device }: SelectionRules,
): Promise<{ fileSizesBytes: number[]; folders: string[] }> {
  const fileSizesBytes: number[] = [];
  const folders: string[] = [];
  if (isScanElsewhere(scan, { selection, device })) return { fileSizesBytes, folders };
  for (const name of await selection.namesToList((one) => scan.at(one), scan.names)) {
    const place = join(path, name);
    if (selection.excludes(place)) continue;
    try {
      const { mode, sizeBytes, deviceId } = scan.statAt(name);
      const type = nodeTypes.get(mode & constants.S_IFMT);
      if (type !== 'file' && type !== 'dir') continue;
      if (!selection.takes(place, { type, sizeBytes, deviceId }, device)) continue;
      if (type === 'file') fileSizesBytes.push(sizeBytes);
      else folders.push(place);
    } catch (error) {
      if (!isVanished(error) && errnoCode(error) !== 'EACCES') throw error;
    }
  }
  return { fileSizesBytes, folders };
}

/** Of a path that is real and a single name, so nothing has to be made straight: a fifth of the garbage of a walk is left out. */
function join(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}

type SelectionRules = Pick<ListingOptions, 'selection' | 'device'>;

/** Whether another file system is mounted there and the selection stays on its own. */
async function isElsewhere({ handle }: VerifiedFolder, { selection, device }: SelectionRules): Promise<boolean> {
  return selection.staysOnDevice && (await handle.stat({ bigint: true })).dev !== device;
}

function isScanElsewhere(scan: FolderScan, { selection, device }: SelectionRules): boolean {
  return selection.staysOnDevice && scan.statAt('.').deviceId !== device;
}

async function sizeIfTaken(folder: VerifiedFolder, name: string, { selection, device }: SelectionRules): Promise<number | undefined> {
  try {
    const { size, dev } = await lstat(folder.at(name), { bigint: true });
    const node = { type: 'file', sizeBytes: Number(size), deviceId: dev } as const;
    return selection.takes(posix.join(folder.path, name), node, device) ? node.sizeBytes : undefined;
  } catch (error) {
    if (isVanished(error) || errnoCode(error) === 'EACCES') return undefined;
    throw error;
  }
}

async function entriesOf(folder: VerifiedFolder, name: string, options: ListingOptions): Promise<SourceEntry[]> {
  const path = posix.join(folder.path, name);
  const skipped = (reason: string): SourceEntry => ({
    kind: 'skipped',
    skipped: { path: printablePath(path), reason },
  });
  if (options.selection.excludes(path)) return [];
  try {
    const { node, problem } = await readNode(folder.at(name), name, options.owners);
    if (node !== undefined && !options.selection.takes(path, node, options.device)) return [];
    const entries: SourceEntry[] = problem === undefined ? [] : [skipped(problem)];
    if (node !== undefined) entries.unshift({ kind: 'node', node });
    return entries;
  } catch (error) {
    if (isVanished(error)) return [];
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    return [skipped(`cannot be looked at (${errno})`)];
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
): Promise<{ readonly node?: SourceNode; readonly problem?: string; readonly words: Uint32Array }> {
  const stats = await lstat(path, { bigint: true });
  const [found, words] = [scannedOf(stats), wordsOfStats(stats)];
  const type = nodeTypes.get(found.mode & constants.S_IFMT);
  if (type === undefined) return { problem: 'is of no known type', words };
  const node = nodeOf(name, type, found, owners);
  if (type === 'symlink') {
    return { node: { ...node, linkTarget: pathFromBytes(await readlink(path, { encoding: 'buffer' })) }, words };
  }
  const { attributes, problem } = readAttributes(path);
  return {
    node: attributes.size === 0 ? node : { ...node, extendedAttributes: attributes },
    ...(problem === undefined ? {} : { problem }),
    words,
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
