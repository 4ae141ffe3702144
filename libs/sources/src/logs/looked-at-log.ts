import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { FileHandle } from 'node:fs/promises';
import { readingError } from '../file-system-error.ts';
import type { FoundFile } from '../glob-files.ts';
import { openVerifiedFile } from '../verified-file.ts';
import type { LogEncoding, LogEntry } from './log-manifest.ts';
import { beginsAs, digestOf, encodingOf, readAt, readHead, readPlainText, tailBytes, type Digest } from './log-reading.ts';

/** A file that was opened to see which log it is. Sizes and digests are those of its plain text. */
export interface LookedAtLog {
  readonly encoding: LogEncoding | undefined;
  /** False for a compressed file that ends before its end. */
  readonly isWhole: boolean;
  readonly sizeBytes: number;
  readonly head: Uint8Array;
  readonly tail: Digest;
  /** The bytes that end at a place; undefined where the text is shorter. */
  tailAt(place: number): Promise<Digest | undefined>;
}

export interface LookOptions {
  /** Where tails may be asked for, of a compressed file; null to leave it packed, which then counts as one that is not whole. */
  readonly places: readonly number[] | null;
  readonly signal: AbortSignal;
}

/**
 * Opens a file and gives what `use` makes of it. Null when it has gone, or another is in its place.
 * Errors: path_not_readable, those of `use`, and the signal's reason.
 */
export async function lookAtLog<T>(file: FoundFile, options: LookOptions, use: (looked: LookedAtLog) => Promise<T>): Promise<T | null> {
  options.signal.throwIfAborted();
  let handle: FileHandle;
  try {
    handle = await openVerifiedFile(file.path);
  } catch (error) {
    const known = readingError(error, file.path);
    if (isHoldfastError(known, 'path_not_found') || isHoldfastError(known, 'path_outside_roots')) return null;
    throw known;
  }
  try {
    const { dev, ino } = await handle.stat({ bigint: true });
    if (dev !== file.device || ino !== file.inode) return null;
    return await use(await lookAtOpen(handle, file, options));
  } catch (error) {
    throw readingError(error, file.path);
  } finally {
    await handle.close();
  }
}

/** Whether a file that begins so, and is as long at least, is the log that an entry knows. */
export async function isLog(looked: LookedAtLog, { head, tail, toByte }: LogEntry): Promise<boolean> {
  if (looked.sizeBytes < toByte || !beginsAs(looked.head, head)) return false;
  return tail === null || (await looked.tailAt(toByte))?.sha256 === tail.sha256;
}

async function lookAtOpen(handle: FileHandle, { sizeBytes }: FoundFile, { places, signal }: LookOptions): Promise<LookedAtLog> {
  const head = await readHead(handle, sizeBytes);
  const encoding = encodingOf(head);
  if (encoding !== undefined) {
    const plain = places === null ? null : await readPlainText(handle, { encoding, sizeBytes, places, signal });
    if (plain === null) return { encoding, isWhole: false, sizeBytes: 0, head: nothing, tail: digestOf(nothing), tailAt: noTail };
    const { tailsAt, ...rest } = plain;
    return { encoding, isWhole: true, ...rest, tailAt: async (place) => tailsAt.get(place) };
  }
  const tailAt = async (place: number): Promise<Digest | undefined> => {
    const length = tailBytes(place);
    const bytes = await readAt(handle, place - length, length);
    return place <= sizeBytes && bytes.length === length ? digestOf(bytes) : undefined;
  };
  // A file that has become shorter since it was found is of the size that it has.
  const found = await tailAt(sizeBytes);
  const shorter = found === undefined ? (await handle.stat()).size : sizeBytes;
  const tail = found ?? (await tailAt(Math.min(shorter, sizeBytes))) ?? digestOf(nothing);
  return { encoding, isWhole: true, sizeBytes: Math.min(shorter, sizeBytes), head, tail, tailAt };
}

const nothing = new Uint8Array(0);
const noTail = async (): Promise<undefined> => undefined;
