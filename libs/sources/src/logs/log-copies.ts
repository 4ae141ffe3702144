import { hash } from 'node:crypto';
import { posix } from 'node:path';
import type { FoundFile } from '../glob-files.ts';
import type { LogEntry } from './log-manifest.ts';
import { beginsAs, digestOf, tailBytes } from './log-reading.ts';
import { lookAtLog, type LookedAtLog } from './looked-at-log.ts';

/**
 * Finds the log that a new file is a copy of, or a part of one: what `copytruncate` and `gzip -k` leave, seen at any moment of their work. Only
 * files of one folder and one name up to its first `.`, `-` or `_` are held against each other: others that begin alike are others.
 */
export class LogCopies {
  readonly #families = new Map<string, Original[]>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Notes a log that files may be copies of. `head` are its first bytes, if they were read. */
  add(file: FoundFile, entry: LogEntry, head?: Uint8Array): void {
    const key = familyOf(file.path);
    const family = this.#families.get(key);
    const original = { file, entry, beginning: head === undefined ? undefined : beginningOf(head) };
    if (family === undefined) this.#families.set(key, [original]);
    else family.push(original);
  }

  /** The entry of the log that the file has the beginning of, or all. Errors: those of lookAtLog. */
  async originalOf(file: FoundFile, looked: LookedAtLog): Promise<LogEntry | null> {
    if (looked.sizeBytes === 0) return null;
    const beginning = beginningOf(looked.head);
    let comparedCount = 0;
    for (const original of this.#families.get(familyOf(file.path)) ?? []) {
      if (original.beginning !== undefined && beginning !== undefined && original.beginning !== beginning) continue;
      if (original.entry.toByte < looked.sizeBytes) continue;
      if (++comparedCount > maxCompared) return null;
      if (await isBeginningOf(looked, original, this.#signal)) return original.entry;
    }
    return null;
  }
}

interface Original {
  readonly file: FoundFile;
  readonly entry: LogEntry;
  /** Undefined for one that is not known, or shorter. */
  readonly beginning: string | undefined;
}

/** A file that begins as so many others of its family is no log with time stamps. */
const maxCompared = 256;
/** A time stamp and some words. */
const beginningBytes = 64;

function beginningOf(head: Uint8Array): string | undefined {
  return head.length < beginningBytes ? undefined : hash('sha256', head.subarray(0, beginningBytes));
}

function familyOf(path: string): string {
  const name = posix.basename(path);
  return `${posix.dirname(path)}/${/^[^.\-_]+/u.exec(name)?.[0] ?? name}`;
}

async function isBeginningOf(looked: LookedAtLog, { file, entry }: Original, signal: AbortSignal): Promise<boolean> {
  const { sizeBytes, head, tail } = looked;
  if (sizeBytes === entry.toByte && entry.tail !== null) return tail.sha256 === entry.tail.sha256 && beginsAs(head, entry.head);
  // Of a compressed one all would have to be unpacked; what it is made from is longer than no copy.
  if (entry.encoding !== undefined) return false;
  const isSame = async (original: LookedAtLog): Promise<boolean> =>
    beginsAs(original.head, digestOf(head.subarray(0, tailBytes(sizeBytes)))) && (await original.tailAt(sizeBytes))?.sha256 === tail.sha256;
  return (await lookAtLog(file, { places: null, signal }, isSame)) ?? false;
}
