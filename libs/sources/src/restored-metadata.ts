import { chmodSync, constants, fchmodSync, fchownSync, futimesSync, lchownSync, lutimesSync } from 'node:fs';
import { errnoCode } from '@holdfast/errors/errno-code';
import { loadSystemCalls } from './system-calls.ts';
import type { SystemPath } from './system-path.ts';
import type { FileTimes, TargetNode } from './target.ts';

/**
 * Owner, attributes, mode and times of what a recovery has written, in this order: a change of owner takes set-user-id bits
 * and capabilities away, and every other change touches a time. Times are exact to the nanosecond where system-calls.ts is
 * there, else to the microsecond, and before 1970 to the millisecond.
 */
export interface MetadataPlace {
  /** Of the entry itself; no call here follows a symlink at its end, but for the mode of a fifo or device. */
  readonly path: SystemPath;
  /** Of a regular file or a folder that is open. */
  readonly descriptor?: number;
  /** Only root can. */
  readonly setsOwner: boolean;
  /** Told what could not be set. */
  readonly warn: (reason: string) => void;
}

export function setMetadata(node: TargetNode, place: MetadataPlace): void {
  const { descriptor, path } = place;
  if (place.setsOwner) {
    attempt(place, 'owner', () =>
      descriptor === undefined ? lchownSync(path, node.uid, node.gid) : fchownSync(descriptor, node.uid, node.gid),
    );
  }
  if (node.extendedAttributes !== undefined) setAttributes(node.extendedAttributes, place);
  if (node.type !== 'symlink') {
    const mode = node.mode & 0o7777;
    attempt(place, 'mode', () => (descriptor === undefined ? chmodSync(path, mode) : fchmodSync(descriptor, mode)));
  }
  attempt(place, 'times', () => setTimes(node, place));
}

function setAttributes(attributes: ReadonlyMap<string, Uint8Array>, place: MetadataPlace): void {
  const calls = loadSystemCalls();
  if (calls === undefined) return place.warn('extended attributes are not set: this system has no way to');
  for (const [name, value] of attributes) {
    attempt(place, `extended attribute ${name}`, () => calls.setAttribute(place.path, name, value));
  }
}

function setTimes(node: TargetNode, { descriptor, path }: MetadataPlace): void {
  const calls = loadSystemCalls();
  if (calls !== undefined) {
    if (descriptor === undefined) calls.setTimes(path, node.accessedNs, node.modifiedNs);
    else calls.setOpenFileTimes(descriptor, node.accessedNs, node.modifiedNs);
    return;
  }
  const [accessed, modified] = [timeOf(node.accessedNs), timeOf(node.modifiedNs)];
  if (descriptor === undefined) lutimesSync(path, accessed, modified);
  else futimesSync(descriptor, accessed, modified);
}

/** The times of an open file alone. What could not be set is told to `warn`. */
export function setFileTimes(times: FileTimes, descriptor: number, warn: (reason: string) => void): void {
  const calls = loadSystemCalls();
  try {
    if (calls !== undefined) return calls.setOpenFileTimespecs(descriptor, times);
    futimesSync(
      descriptor,
      timeOf(nsOfTime(times.accessedSeconds, times.accessedNs)),
      timeOf(nsOfTime(times.modifiedSeconds, times.modifiedNs)),
    );
  } catch (error) {
    warn(`times not set (${errnoOrThrow(error)})`);
  }
}

/** As one number. */
export function nsOfTime(seconds: number, ns: number): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(ns);
}

/** For node:fs, which takes a negative number of seconds for the present time, but not a date before 1970. */
function timeOf(ns: bigint): number | Date {
  return ns < 0n ? new Date(Number(ns / 1_000_000n)) : secondsOf(ns);
}

function attempt(place: MetadataPlace, what: string, set: () => void): void {
  try {
    set();
  } catch (error) {
    place.warn(`${what} not set (${errnoOrThrow(error)})`);
  }
}

function errnoOrThrow(error: unknown): string {
  const errno = errnoCode(error);
  if (errno === undefined) throw error;
  return errno;
}

/**
 * The seconds, as the float that node:fs wants, that come out in the same microsecond and nearest to `ns`, which is not negative. A float of our
 * days steps by 238 ns, and the system takes its fraction with the rest cut off, so that the nearest float can land in the
 * microsecond before.
 */
export function secondsOf(ns: bigint): number {
  const nearest = Number(ns) / 1e9;
  const step = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(nearest), 1))) - 52);
  const distance = (seconds: number): number => {
    const outcome = nsOf(seconds);
    const isOtherMicrosecond = outcome / 1000n !== ns / 1000n;
    return Math.abs(Number(outcome - ns)) + (isOtherMicrosecond ? 1e6 : 0);
  };
  return [nearest, nearest + step, nearest - step, nearest + 2 * step].reduce((best, one) => (distance(one) < distance(best) ? one : best));
}

/** What becomes of a float of seconds on its way to the system. */
export function nsOf(seconds: number): bigint {
  const whole = Math.trunc(seconds);
  return BigInt(whole) * 1_000_000_000n + BigInt(Math.trunc((seconds - whole) * 1e9));
}

/** The type bits of a node that mknod(2) makes, or undefined for any other. */
export function typeBitsOf(type: TargetNode['type']): number | undefined {
  return { fifo: constants.S_IFIFO, socket: constants.S_IFSOCK, dev: constants.S_IFBLK, chardev: constants.S_IFCHR }[type as string];
}
