import type { DynamicLibraryResult } from 'node:ffi';
import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { SystemPath } from './system-path.ts';
import type { FileTimes } from './target.ts';

/**
 * Calls of the C library that node:fs does not have: times to the nanosecond, device nodes and fifos, extended attributes.
 * Through Node's own foreign function interface, which is marked experimental: whoever uses this does without where it is not
 * there (another operating system or processor, an older Node, `--no-experimental-ffi`). None follows a symlink at the path's last name.
 */
export interface SystemCalls {
  /** Errors: an Error with the errno's name as its code, here and below. */
  setTimes(path: SystemPath, accessedNs: bigint, modifiedNs: bigint): void;
  setOpenFileTimes(fileDescriptor: number, accessedNs: bigint, modifiedNs: bigint): void;
  /** The same for times that are taken apart already. */
  setOpenFileTimespecs(fileDescriptor: number, times: FileTimes): void;
  /** `mode` with its type bits. */
  makeNode(path: SystemPath, mode: number, device: bigint): void;
  /** Names that are not UTF-8, which a tree cannot hold, are counted apart. */
  listAttributes(path: SystemPath): AttributeNames;
  getAttribute(path: SystemPath, name: string): Uint8Array;
  /** The same of an open file, without a way through its path. */
  listOpenAttributes(fileDescriptor: number): AttributeNames;
  getOpenAttribute(fileDescriptor: number, name: string): Uint8Array;
  setAttribute(path: SystemPath, name: string, value: Uint8Array): void;
  /** The first position from `positionBytes` on that is no hole; ENXIO when there is none. */
  findData(fileDescriptor: number, positionBytes: number): number;
  /** Has the system begin to put a part of an open file on its disk. No more than a hint: what goes wrong shows when it is synced. */
  startWriteback(fileDescriptor: number, positionBytes: number, lengthBytes: number): void;
  /** Fills `into` with the next entries of an open folder as the kernel has them (linux_dirent64); returns their bytes, 0 at the end. */
  readEntries(fileDescriptor: number, into: Uint8Array, sizeBytes?: bigint): number;
  /** Fills `into`, 256 bytes, with the struct stat of `name` in an open folder. `name` ends in a NUL. */
  statAt(folderDescriptor: number, name: Uint8Array, into: Uint8Array): void;
  /** As statAt; false where that throws. */
  tryStatAt(folderDescriptor: number, name: Uint8Array, into: Uint8Array): boolean;
  /** Opens the folder `name` in an open one, for closeFolder to close; -1 when there is none, or a symlink, or it may not be listed. */
  tryOpenFolderAt(folderDescriptor: number, name: Uint8Array): number;
  closeFolder(fileDescriptor: number): void;
}

export interface AttributeNames {
  readonly names: readonly string[];
  readonly unnamableCount: number;
}

/** XATTR_SIZE_MAX and XATTR_LIST_MAX of Linux. */
const maxAttributeSizeBytes = 64 * 1024;
/** AT_FDCWD and AT_SYMLINK_NOFOLLOW of Linux. */
const currentFolder = -100;
const doNotFollow = 0x100;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** O_CLOEXEC, which node:fs sets by itself and has no name for. */
const closeOnExecute = 0o2000000;
const seekData = 3;
/** SYNC_FILE_RANGE_WRITE of Linux. */
const onlyStart = 2;
const nsPerSecond = 1_000_000_000n;

const definitions = {
  utimensat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  futimens: { arguments: ['i32', 'buffer'], return: 'i32' },
  mknod: { arguments: ['buffer', 'u32', 'u64'], return: 'i32' },
  llistxattr: { arguments: ['buffer', 'buffer', 'u64'], return: 'i64' },
  lgetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64'], return: 'i64' },
  // Lists and values end at 64 KiB, so the count fits 32 bits, and no BigInt has to be made for it.
  flistxattr: { arguments: ['i32', 'buffer', 'u64'], return: 'i32' },
  fgetxattr: { arguments: ['i32', 'buffer', 'buffer', 'u64'], return: 'i64' },
  lsetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
  getdents64: { arguments: ['i32', 'buffer', 'u64'], return: 'i64' },
  fstatat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  openat: { arguments: ['i32', 'buffer', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
  sync_file_range: { arguments: ['i32', 'i64', 'i64', 'u32'], return: 'i32' },
  __errno_location: { arguments: [], return: 'pointer' },
} as const;

let loaded: SystemCalls | undefined | 'not-tried' = 'not-tried';

/** The calls, or undefined where they are not there. Loads once a process. */
export function loadSystemCalls(): SystemCalls | undefined {
  if (loaded === 'not-tried') loaded = load();
  return loaded;
}

function load(): SystemCalls | undefined {
  // The layout of timespec, and the numbers above, are those of 64-bit little-endian Linux.
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return undefined;
  const ffi = process.getBuiltinModule('node:ffi');
  if (ffi === undefined) return undefined;
  try {
    return systemCallsOf(ffi.dlopen(null, definitions).functions, (pointer) => ffi.getInt32(pointer));
  } catch (error) {
    // A C library without one of the names, such as glibc before 2.33: the caller does without, as on other systems.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

type Functions = DynamicLibraryResult<typeof definitions>['functions'];

function systemCallsOf(functions: Functions, readInt32: (pointer: bigint) => number): SystemCalls {
  const checked = (result: number | bigint, call: string): number => {
    if (result >= 0) return Number(result);
    const code = getSystemErrorName(-readInt32(functions['__errno_location']()));
    throw Object.assign(new Error(`${code}: ${call}`), { code, syscall: call });
  };
  // No call goes on beyond another, so one buffer does for what they answer.
  const scratch = Buffer.allocUnsafeSlow(maxAttributeSizeBytes);
  const scratchBytes = BigInt(scratch.byteLength);
  return {
    setTimes: (path, accessedNs, modifiedNs) => {
      checked(functions.utimensat(currentFolder, cString(path), timespecs(accessedNs, modifiedNs), doNotFollow), 'utimensat');
    },
    setOpenFileTimes: (fileDescriptor, accessedNs, modifiedNs) => {
      checked(functions.futimens(fileDescriptor, timespecs(accessedNs, modifiedNs)), 'futimens');
    },
    setOpenFileTimespecs: (fileDescriptor, { accessedSeconds, accessedNs, modifiedSeconds, modifiedNs }) => {
      setTimespecWords(0, accessedSeconds, accessedNs);
      setTimespecWords(4, modifiedSeconds, modifiedNs);
      checked(functions.futimens(fileDescriptor, timesBytes), 'futimens');
    },
    makeNode: (path, mode, device) => {
      checked(functions.mknod(cString(path), mode, device), 'mknod');
    },
    listAttributes: (path) => {
      const lengthBytes = checked(functions.llistxattr(cString(path), scratch, scratchBytes), 'llistxattr');
      return lengthBytes === 0 ? noNames : decodeNames(scratch.subarray(0, lengthBytes));
    },
    getAttribute: (path, name) => {
      const lengthBytes = checked(functions.lgetxattr(cString(path), cString(name), scratch, scratchBytes), 'lgetxattr');
      return Uint8Array.from(scratch.subarray(0, lengthBytes));
    },
    listOpenAttributes: (fileDescriptor) => {
      const lengthBytes = checked(functions.flistxattr(fileDescriptor, scratch, scratchBytes), 'flistxattr');
      return lengthBytes === 0 ? noNames : decodeNames(scratch.subarray(0, lengthBytes));
    },
    getOpenAttribute: (fileDescriptor, name) => {
      const lengthBytes = checked(functions.fgetxattr(fileDescriptor, cString(name), scratch, scratchBytes), 'fgetxattr');
      return Uint8Array.from(scratch.subarray(0, lengthBytes));
    },
    setAttribute: (path, name, value) => {
      // The interface takes no empty buffer, so a spare byte stands behind the value.
      const bytes = Buffer.concat([value, Buffer.alloc(1)]);
      checked(functions.lsetxattr(cString(path), cString(name), bytes, BigInt(value.byteLength), 0), 'lsetxattr');
    },
    findData: (fileDescriptor, positionBytes) => checked(functions.lseek(fileDescriptor, BigInt(positionBytes), seekData), 'lseek'),
    startWriteback: (fileDescriptor, positionBytes, lengthBytes) => {
      functions.sync_file_range(fileDescriptor, BigInt(positionBytes), BigInt(lengthBytes), onlyStart);
    },
    readEntries: (fileDescriptor, into, sizeBytes = BigInt(into.byteLength)) =>
      checked(functions.getdents64(fileDescriptor, into, sizeBytes), 'getdents64'),
    statAt: (folderDescriptor, name, into) => {
      checked(functions.fstatat(folderDescriptor, name, into, doNotFollow), 'fstatat');
    },
    tryStatAt: (folderDescriptor, name, into) => functions.fstatat(folderDescriptor, name, into, doNotFollow) === 0,
    tryOpenFolderAt: (folderDescriptor, name) => functions.openat(folderDescriptor, name, folderFlags | closeOnExecute),
    closeFolder: (fileDescriptor) => {
      checked(functions.close(fileDescriptor), 'close');
    },
  };
}

const times = new BigInt64Array(4);
const timesBytes = Buffer.from(times.buffer);
const timesWords = new Int32Array(times.buffer);

/** Two of struct timespec: seconds and nanoseconds within the second, eight bytes each. Good until the next call. */
function timespecs(accessedNs: bigint, modifiedNs: bigint): Buffer {
  setTimespec(0, accessedNs);
  setTimespec(2, modifiedNs);
  return timesBytes;
}

function setTimespec(at: number, ns: bigint): void {
  const rest = ns % nsPerSecond;
  const withinSecondNs = rest < 0n ? rest + nsPerSecond : rest;
  times[at] = (ns - withinSecondNs) / nsPerSecond;
  times[at + 1] = withinSecondNs;
}

/** The lower half first. */
function setTimespecWords(at: number, seconds: number, ns: number): void {
  timesWords[at] = seconds;
  timesWords[at + 1] = Math.floor(seconds / 2 ** 32);
  timesWords[at + 2] = ns;
  timesWords[at + 3] = 0;
}

const noNames: AttributeNames = { names: [], unnamableCount: 0 };

function decodeNames(list: Buffer): AttributeNames {
  const parts = splitAtNul(list);
  const readable = parts.filter((part) => isUtf8(part));
  return { names: readable.map((part) => part.toString('utf8')), unnamableCount: parts.length - readable.length };
}

function splitAtNul(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0, start);
    const stop = end === -1 ? bytes.length : end;
    if (stop > start) parts.push(bytes.subarray(start, stop));
    start = stop + 1;
  }
  return parts;
}

function cString(text: SystemPath): Buffer {
  return typeof text === 'string' ? Buffer.from(`${text}\0`) : Buffer.concat([text, Buffer.alloc(1)]);
}
