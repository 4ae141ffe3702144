import { constants } from 'node:fs';
import { chmod, lchown, lutimes, type FileHandle } from 'node:fs/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { loadSystemCalls } from './system-calls.ts';
import type { SystemPath } from './system-path.ts';
import type { TargetNode } from './target.ts';

/**
 * Owner, attributes, mode and times of what a recovery has written, in this order: a change of owner takes set-user-id bits
 * and capabilities away, and every other change touches a time. Times are exact to the nanosecond where system-calls.ts is
 * there, else to the microsecond, and before 1970 to the millisecond.
 */
export interface MetadataPlace {
  /** Of the entry itself; no call here follows a symlink at its end, but for the mode of a fifo or device. */
  readonly path: SystemPath;
  /** Of a regular file or a folder. */
  readonly handle?: FileHandle;
  readonly isRoot: boolean;
  /** Told what could not be set. */
  readonly warn: (reason: string) => void;
}

export async function setMetadata(node: TargetNode, place: MetadataPlace): Promise<void> {
  const { handle, path } = place;
  if (place.isRoot) {
    await attempt(place, 'owner', () => (handle === undefined ? lchown(path, node.uid, node.gid) : handle.chown(node.uid, node.gid)));
  }
  if (node.extendedAttributes !== undefined) await setAttributes(node.extendedAttributes, place);
  if (node.type !== 'symlink') {
    await attempt(place, 'mode', () => (handle === undefined ? chmod(path, node.mode & 0o7777) : handle.chmod(node.mode & 0o7777)));
  }
  await attempt(place, 'times', () => setTimes(node, place));
}

async function setAttributes(attributes: ReadonlyMap<string, Uint8Array>, place: MetadataPlace): Promise<void> {
  const calls = loadSystemCalls();
  if (calls === undefined) return place.warn('extended attributes are not set: this system has no way to');
  for (const [name, value] of attributes) {
    await attempt(place, `extended attribute ${name}`, async () => calls.setAttribute(place.path, name, value));
  }
}

async function setTimes(node: TargetNode, { handle, path }: MetadataPlace): Promise<void> {
  const calls = loadSystemCalls();
  if (calls !== undefined) {
    if (handle === undefined) calls.setTimes(path, node.accessedNs, node.modifiedNs);
    else calls.setOpenFileTimes(handle.fd, node.accessedNs, node.modifiedNs);
    return;
  }
  const [accessed, modified] = [timeOf(node.accessedNs), timeOf(node.modifiedNs)];
  await (handle === undefined ? lutimes(path, accessed, modified) : handle.utimes(accessed, modified));
}

/** For node:fs, which takes a negative number of seconds for the present time, but not a date before 1970. */
function timeOf(ns: bigint): number | Date {
  return ns < 0n ? new Date(Number(ns / 1_000_000n)) : secondsOf(ns);
}

async function attempt(place: MetadataPlace, what: string, set: () => Promise<void>): Promise<void> {
  try {
    await set();
  } catch (error) {
    const errno = errnoCode(error);
    if (errno === undefined) throw error;
    place.warn(`${what} not set (${errno})`);
  }
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
