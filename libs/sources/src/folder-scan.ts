import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { FolderRecord } from './folder-record.ts';
import { decodeStat, makeStatBuffer, statWords, type ScannedStat } from './stat-words.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';
import { pathFromBytes, pathToBytes, toSystemPath } from './system-path.ts';
import { isWithinOneCall } from './verified-folder.ts';

/**
 * Lists a folder and looks at what is in it with blocking calls of Linux: a third of the time that node:fs takes, because no name
 * is looked up by its whole path and no call goes to another thread and back.
 */
export interface FolderScan extends Disposable {
  /** Sorted by their bytes. */
  readonly names: readonly string[];
  /** In the order in which the kernel told them. */
  readonly listedNames: readonly string[];
  /** What is at a name now, symlinks not followed. Errors: those of fstatat(2). */
  statAt(name: string): ScannedStat;
  /** Notes in a record what the last statAt found. */
  record(into: FolderRecord, name: string, isTaken: boolean): void;
  /** A path for calls on `name` in this folder, good until the scan is disposed of. */
  at(name: string): string | Buffer;
}

/** As large as one call fills: some thousand names. */
const entriesBufferBytes = 64 * 1024;
/** NAME_MAX is 255 bytes. */
const nameBufferBytes = 1024;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens the folder at a real, absolute path, of which every part is what its name says. Undefined where this way is not to be had
 * (another system, a path longer than one call takes, no /proc). With `names` it holds these, whether they are there or not. Errors: those of open(2); path_outside_roots when the path leads elsewhere.
 */
export function scanFolder(path: string, names?: ReadonlySet<string>): FolderScan | undefined {
  const calls = loadSystemCalls();
  if (calls === undefined || !isWithinOneCall(path)) return undefined;
  const descriptor = openSync(toSystemPath(path), folderFlags);
  try {
    const kernelPath = pathByKernel(descriptor);
    if (kernelPath === path) return new OpenScan(calls, descriptor, names);
    if (kernelPath !== undefined) {
      throw new HoldfastError('path_outside_roots', `${JSON.stringify(path)} was replaced while in use, or leads through a symlink`, {
        context: { path },
      });
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  closeSync(descriptor);
  return undefined;
}

function pathByKernel(descriptor: number): string | undefined {
  try {
    return pathFromBytes(readlinkSync(`/proc/self/fd/${String(descriptor)}`, { encoding: 'buffer' }));
  } catch (error) {
    // A container without /proc.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

// Scans of one thread do not overlap within a call, so they share what the calls fill.
const entriesBuffer = Buffer.allocUnsafeSlow(entriesBufferBytes);
const nameBuffer = Buffer.allocUnsafeSlow(nameBufferBytes);
const stat = makeStatBuffer();

class OpenScan implements FolderScan {
  readonly names: readonly string[];
  readonly listedNames: readonly string[];
  readonly #calls: SystemCalls;
  readonly #descriptor: number;

  constructor(calls: SystemCalls, descriptor: number, names?: ReadonlySet<string>) {
    this.#calls = calls;
    this.#descriptor = descriptor;
    this.listedNames = names === undefined ? listNames(calls, descriptor) : [...names];
    this.names = sortedByBytes(this.listedNames);
  }

  statAt(name: string): ScannedStat {
    const length = name.isWellFormed() ? nameBuffer.write(name) : pathToBytes(name).copy(nameBuffer);
    nameBuffer[length] = 0;
    this.#calls.statAt(this.#descriptor, nameBuffer, stat.bytes);
    return decodeStat(stat);
  }

  record(into: FolderRecord, name: string, isTaken: boolean): void {
    into.note(name, statWords(stat), isTaken);
  }

  at(name: string): string | Buffer {
    return toSystemPath(`/proc/self/fd/${String(this.#descriptor)}/${name}`);
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}

/** struct linux_dirent64: inode u64, offset s64, record length u16, type u8, name and NUL. */
function listNames(calls: SystemCalls, descriptor: number): string[] {
  const names: string[] = [];
  for (let filled = -1; filled !== 0;) {
    filled = calls.readEntries(descriptor, entriesBuffer);
    for (let at = 0; at < filled; at += entriesBuffer.readUInt16LE(at + 16)) {
      const start = at + 19;
      const name = pathFromBytes(entriesBuffer.subarray(start, entriesBuffer.indexOf(0, start)));
      if (name !== '.' && name !== '..') names.push(name);
    }
  }
  return names;
}

/** Below the surrogates UTF-16 sorts as UTF-8 does. */
const hasSurrogate = /[\ud800-\uffff]/;

function sortedByBytes(names: readonly string[]): string[] {
  if (names.some((name) => hasSurrogate.test(name))) return names.toSorted((a, b) => Buffer.compare(pathToBytes(a), pathToBytes(b)));
  return names.toSorted((a, b) => (a < b ? -1 : 1));
}
