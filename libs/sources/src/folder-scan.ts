import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
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
  /** What is at a name now, symlinks not followed; good until the next call. Errors: those of statx(2). */
  statAt(name: string): ScannedStat;
  /** A path for calls on `name` in this folder, good until the scan is disposed of. */
  at(name: string): string | Buffer;
}

/** As in struct stat; times in nanoseconds since 1970. */
export interface ScannedStat {
  readonly mode: number;
  readonly linkCount: number;
  readonly uid: number;
  readonly gid: number;
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly accessedNs: bigint;
  readonly changedNs: bigint;
  readonly modifiedNs: bigint;
  readonly device: bigint;
  readonly deviceId: bigint;
}

/** As large as one call fills: some thousand names. */
const entriesBufferBytes = 64 * 1024;
const statBytes = 256;
/** NAME_MAX is 255 bytes. */
const nameBufferBytes = 1024;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens the folder at a real, absolute path, of which every part is what its name says. Undefined where this way is not to be had
 * (another system, a path longer than one call takes, no /proc). Errors: those of open(2); path_outside_roots when the path leads elsewhere.
 */
export function scanFolder(path: string): FolderScan | undefined {
  const calls = loadSystemCalls();
  if (calls === undefined || !isWithinOneCall(path)) return undefined;
  const descriptor = openSync(toSystemPath(path), folderFlags);
  try {
    const kernelPath = pathByKernel(descriptor);
    if (kernelPath === path) return new OpenScan(calls, descriptor);
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
const statBuffer = new ArrayBuffer(statBytes);
const statAsBytes = Buffer.from(statBuffer);
const stat16 = new Uint16Array(statBuffer);
const stat32 = new Uint32Array(statBuffer);
const stat64 = new BigInt64Array(statBuffer);

class OpenScan implements FolderScan {
  readonly names: readonly string[];
  readonly #calls: SystemCalls;
  readonly #descriptor: number;

  constructor(calls: SystemCalls, descriptor: number) {
    this.#calls = calls;
    this.#descriptor = descriptor;
    this.names = sortedByBytes(listNames(calls, descriptor));
  }

  statAt(name: string): ScannedStat {
    const length = name.isWellFormed() ? nameBuffer.write(name) : pathToBytes(name).copy(nameBuffer);
    nameBuffer[length] = 0;
    this.#calls.statAt(this.#descriptor, nameBuffer, statAsBytes);
    return decodeStat();
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

function sortedByBytes(names: string[]): string[] {
  if (names.some((name) => hasSurrogate.test(name))) return names.toSorted((a, b) => Buffer.compare(pathToBytes(a), pathToBytes(b)));
  return names.toSorted((a, b) => (a < b ? -1 : 1));
}

/** See statx(2); the fields lie where the kernel's ABI has put them for good. */
function decodeStat(): ScannedStat {
  return {
    mode: stat16[14] ?? 0,
    linkCount: stat32[4] ?? 0,
    uid: stat32[5] ?? 0,
    gid: stat32[6] ?? 0,
    inode: BigInt.asUintN(64, stat64[4] ?? 0n),
    sizeBytes: (stat32[10] ?? 0) + (stat32[11] ?? 0) * 2 ** 32,
    accessedNs: timeAt(8),
    changedNs: timeAt(12),
    modifiedNs: timeAt(14),
    device: deviceAt(32),
    deviceId: deviceAt(34),
  };
}

/** Seconds s64 and nanoseconds u32, from the given 64-bit word on. */
function timeAt(word: number): bigint {
  return (stat64[word] ?? 0n) * 1_000_000_000n + BigInt(stat32[(word + 1) * 2] ?? 0);
}

/** Major and minor number as the C library joins them to a dev_t. */
function deviceAt(word: number): bigint {
  const [major, minor] = [stat32[word] ?? 0, stat32[word + 1] ?? 0];
  const low = ((major & 0xfff) << 8) | (minor & 0xff);
  if (major < 0x1000 && minor < 0x100) return BigInt(low);
  return (BigInt(major & 0xfffff000) << 32n) | (BigInt(minor & 0xffffff00) << 12n) | BigInt(low);
}
