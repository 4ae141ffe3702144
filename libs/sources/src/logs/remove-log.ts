import { lstat, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../allowed-roots.ts';
import { isVanished, writingError } from '../file-system-error.ts';
import type { FoundFile } from '../glob-files.ts';
import { openVerifiedFile } from '../verified-file.ts';
import { openVerifiedFolder } from '../verified-folder.ts';
import { readAt } from './log-reading.ts';

/** One comparison. */
const pieceBytes = 1024 * 1024;

/**
 * Compares a file, byte by byte, with what `stored` gives; null when both are the same and the file is as it was found, else why not.
 * Errors: those of `stored`, the signal's reason, and path_not_readable.
 */
export async function differenceOf(file: FoundFile, stored: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string | null> {
  let handle;
  try {
    handle = await openVerifiedFile(file.path);
  } catch (error) {
    if (error instanceof HoldfastError || isVanished(error)) return 'is no longer there';
    return `cannot be read (${errnoCode(error) ?? 'unknown'})`;
  }
  try {
    let position = 0;
    for await (const blob of stored) {
      for (let at = 0; at < blob.length; at += pieceBytes) {
        signal.throwIfAborted();
        const piece = blob.subarray(at, at + pieceBytes);
        const found = await readAt(handle, position, piece.length);
        if (Buffer.compare(found, piece) !== 0) return `differs from its backup at or behind byte ${position}`;
        position += piece.length;
      }
    }
    if (position !== file.sizeBytes) return `has ${file.sizeBytes} bytes, and its backup ${position}`;
    return isAsFound(file, await handle.stat({ bigint: true })) ? null : 'was written to since the run began';
  } finally {
    await handle.close();
  }
}

/**
 * Removes a file that is still the one that was found, and inside the roots, through no symlink. Null when it did, else why not.
 * Errors: target_not_writable.
 */
export async function removeLog(file: FoundFile, roots: readonly string[]): Promise<string | null> {
  try {
    if ((await resolveInsideRoots(file.path, roots)) !== file.path) return 'leads through a symlink';
    await using folder = await openVerifiedFolder(posix.dirname(file.path));
    const place = folder.at(posix.basename(file.path));
    if (!isAsFound(file, await lstat(place, { bigint: true }))) return 'was written to since the run began';
    await unlink(place);
    return null;
  } catch (error) {
    if (isVanished(error)) return 'is no longer there';
    if (error instanceof HoldfastError) return error.message;
    throw writingError(error, file.path);
  }
}

function isAsFound(
  { device, inode, sizeBytes, modifiedNs }: FoundFile,
  now: { dev: bigint; ino: bigint; size: bigint; mtimeNs: bigint },
): boolean {
  return now.dev === device && now.ino === inode && now.size === BigInt(sizeBytes) && now.mtimeNs === modifiedNs;
}

/** O_WRONLY and O_RDWR of open(2). */
const writingFlags = 0o3;

/**
 * The files that some process has open for writing, as `device inode`, as far as this one may look: as root all, else those of its own user.
 * Empty where there is no /proc.
 */
export async function filesOpenForWriting(signal: AbortSignal): Promise<ReadonlySet<string>> {
  const open = new Set<string>();
  for (const process of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/u.test(process)) continue;
    signal.throwIfAborted();
    // A process that has ended, or is another user's.
    const descriptors = await readdir(`/proc/${process}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const key = await keyIfWriting(process, descriptor).catch(() => null);
      if (key !== null) open.add(key);
    }
  }
  return open;
}

async function keyIfWriting(process: string, descriptor: string): Promise<string | null> {
  const flags = /^flags:\s*(?<octal>[0-7]+)/mu.exec(await readFile(`/proc/${process}/fdinfo/${descriptor}`, 'utf8'))?.groups?.['octal'];
  if (flags === undefined || (Number.parseInt(flags, 8) & writingFlags) === 0) return null;
  const { dev, ino } = await stat(`/proc/${process}/fd/${descriptor}`, { bigint: true });
  return `${dev} ${ino}`;
}
