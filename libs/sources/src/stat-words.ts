import type { BigIntStats } from 'node:fs';

/**
 * What stat(2) tells, in three shapes: the C library's struct, values to go on with, and words to compare. The words of an entry are
 * equal exactly when nothing that a backup stores of it has changed, as far as the system tells: mode with its type bits, inode,
 * device, links, owner, group, size, and the times of content and of change. Not the access time, which backups do not store.
 */

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

/** Room for a struct stat, to be filled by a system call. */
export interface StatBuffer {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly longs: BigInt64Array;
}

const statBufferBytes = 256;

export function makeStatBuffer(): StatBuffer {
  const buffer = new ArrayBuffer(statBufferBytes);
  return { bytes: new Uint8Array(buffer), words: new Uint32Array(buffer), longs: new BigInt64Array(buffer) };
}

/** Where the fields are in 32-bit words: x86-64 has its own order, arm64 that of new processors; from the size on they agree. */
const place =
  process.arch === 'x64'
    ? { deviceId: 0, inode: 2, linkCount: 4, mode: 6, uid: 7, gid: 8, device: 10 }
    : { deviceId: 0, inode: 2, mode: 4, linkCount: 5, uid: 6, gid: 7, device: 8 };
const [sizePlace, accessedPlace, modifiedPlace, changedPlace] = [12, 18, 22, 26];

export const wordsPerStat = 16;
/** Within an entry's words. */
export const modeWord = 0;
export const uidWord = 6;
export const gidWord = 7;
export const sizeWord = 8;
export const modifiedWord = 10;
export const changedWord = 13;

/** For each word of an entry the one of the struct. */
export const statPlaces = Uint8Array.of(
  place.mode,
  place.inode,
  place.inode + 1,
  place.deviceId,
  place.deviceId + 1,
  place.linkCount,
  place.uid,
  place.gid,
  sizePlace,
  sizePlace + 1,
  modifiedPlace,
  modifiedPlace + 1,
  modifiedPlace + 2,
  changedPlace,
  changedPlace + 1,
  changedPlace + 2,
);

const lastWords = new Uint32Array(wordsPerStat);

/** The words of what the buffer holds; good until the next call. */
export function statWords({ words }: StatBuffer): Uint32Array {
  for (let nth = 0; nth < wordsPerStat; nth++) lastWords[nth] = words[statPlaces[nth] ?? 0] ?? 0;
  return lastWords;
}

/** The same of what node:fs tells. */
export function wordsOfStats({ mode, ino, dev, nlink, uid, gid, size, mtimeNs, ctimeNs }: BigIntStats): Uint32Array {
  const [modified, changed] = [secondsOf(mtimeNs), secondsOf(ctimeNs)];
  const all = [mode, ino, ino >> 32n, dev, dev >> 32n, nlink, uid, gid, size, size >> 32n, ...modified, ...changed];
  return Uint32Array.from(all, (value) => Number(BigInt.asUintN(32, value)));
}

const nsPerSecond = 1_000_000_000n;

function secondsOf(ns: bigint): [bigint, bigint, bigint] {
  const rest = ((ns % nsPerSecond) + nsPerSecond) % nsPerSecond;
  const seconds = (ns - rest) / nsPerSecond;
  return [seconds, seconds >> 32n, rest];
}

export function decodeStat({ words, longs }: StatBuffer): ScannedStat {
  return {
    mode: words[place.mode] ?? 0,
    linkCount: words[place.linkCount] ?? 0,
    uid: words[place.uid] ?? 0,
    gid: words[place.gid] ?? 0,
    inode: unsigned(longs, place.inode),
    sizeBytes: decodeSize({ words }),
    accessedNs: timeAt(longs, accessedPlace),
    changedNs: timeAt(longs, changedPlace),
    modifiedNs: timeAt(longs, modifiedPlace),
    device: unsigned(longs, place.device),
    deviceId: unsigned(longs, place.deviceId),
  };
}

export function decodeSize({ words }: Pick<StatBuffer, 'words'>): number {
  return (words[sizePlace] ?? 0) + (words[sizePlace + 1] ?? 0) * 2 ** 32;
}

function unsigned(longs: BigInt64Array, word: number): bigint {
  return BigInt.asUintN(64, longs[word / 2] ?? 0n);
}

/** Seconds and nanoseconds, 64 bits each. */
function timeAt(longs: BigInt64Array, word: number): bigint {
  return (longs[word / 2] ?? 0n) * nsPerSecond + (longs[word / 2 + 1] ?? 0n);
}
