import { errnoCode } from '@holdfast/errors/errno-code';
import { leftOut, modeMask } from './folder-record.ts';
import { decodeSize, makeStatBuffer, modeWord, statPlaces, wordsPerStat } from './stat-words.ts';
import { loadSystemCalls, type SystemCalls } from './system-calls.ts';

/**
 * Goes through folders and compares each with what was recorded of it, with one blocking call an entry and nothing made for it. Each
 * folder is opened by its name in the one before, symlinks not followed, so none can lead elsewhere.
 */
export interface FolderComparison extends Disposable {
  /** Opens the folder whose name begins at `at` in `names` and ends in a NUL, in the one opened last; false when it is not to be had. */
  enter(names: Uint8Array, at: number): boolean;
  /** Closes the one opened last. */
  leave(): void;
  /** Whether the folder lists exactly the names from `start` to `end`, in this order. */
  listsAs(names: Uint8Array, start: number, end: number): boolean;
  /** Whether the entry whose name begins at `nameAt` is as the words from `at` on say. */
  isSame(names: Uint8Array, nameAt: number, stats: Uint32Array, at: number): boolean;
  /** Of the entry that was compared last; 0 when there was none. */
  readonly sizeBytes: number;
}

/** Open at once; below this nothing is compared. */
export const maxComparedDepth = 200;

const entriesBufferBytes = 64 * 1024;
const entriesBufferSize = BigInt(entriesBufferBytes);
/** NAME_MAX is 255 bytes; what is longer has no file. */
const nameBufferBytes = 1024;
/** Of a linux_dirent64. */
const lengthAt = 16;
const nameAtInEntry = 19;
const dot = 0x2e;
const currentFolder = -100;

// Comparisons of one thread do not overlap within a call.
const entriesBuffer = new Uint8Array(new ArrayBuffer(entriesBufferBytes));
const nameBuffer = new Uint8Array(new ArrayBuffer(nameBufferBytes));
const stat = makeStatBuffer();
const top = new Uint8Array([0x2f, 0]);

/** At the top of the file system; undefined where these calls are not to be had. */
export function openFolderComparison(): FolderComparison | undefined {
  const calls = loadSystemCalls();
  if (calls === undefined) return undefined;
  const descriptor = calls.tryOpenFolderAt(currentFolder, top);
  return descriptor === -1 ? undefined : new OpenComparison(calls, descriptor);
}

class OpenComparison implements FolderComparison {
  readonly #calls: SystemCalls;
  readonly #open: number[];
  #descriptor: number;

  constructor(calls: SystemCalls, descriptor: number) {
    this.#calls = calls;
    this.#descriptor = descriptor;
    this.#open = [descriptor];
  }

  enter(names: Uint8Array, at: number): boolean {
    if (this.#open.length >= maxComparedDepth || !copyName(names, at)) return false;
    const descriptor = this.#calls.tryOpenFolderAt(this.#descriptor, nameBuffer);
    if (descriptor === -1) return false;
    this.#open.push(descriptor);
    this.#descriptor = descriptor;
    return true;
  }

  leave(): void {
    const last = this.#open.pop();
    if (last !== undefined) this.#calls.closeFolder(last);
    this.#descriptor = this.#open.at(-1) ?? -1;
  }

  listsAs(names: Uint8Array, start: number, end: number): boolean {
    let expected = start;
    for (;;) {
      const filled = this.#readEntries();
      if (filled === -1) return false;
      if (filled === 0) return expected === end;
      for (let at = 0; at < filled; at += (entriesBuffer[at + lengthAt] ?? 0) | ((entriesBuffer[at + lengthAt + 1] ?? 0) << 8)) {
        const name = at + nameAtInEntry;
        if (isDotName(name)) continue;
        expected = endOfEqualName(name, names, expected, end);
        if (expected === -1) return false;
      }
    }
  }

  isSame(names: Uint8Array, nameAt: number, stats: Uint32Array, at: number): boolean {
    const mode = stats[at + modeWord] ?? 0;
    if (mode === leftOut) return true;
    if (!copyName(names, nameAt) || !this.#calls.tryStatAt(this.#descriptor, nameBuffer, stat.bytes)) {
      stat.words.fill(0);
      return false;
    }
    const { words } = stat;
    if (words[statPlaces[modeWord] ?? 0] !== (mode & modeMask)) return false;
    for (let nth = modeWord + 1; nth < wordsPerStat; nth++) if (words[statPlaces[nth] ?? 0] !== stats[at + nth]) return false;
    return true;
  }

  get sizeBytes(): number {
    return decodeSize(stat);
  }

  /** -1 when they cannot be read: whoever reads the folder then meets the reason again, and reports it. */
  #readEntries(): number {
    try {
      return this.#calls.readEntries(this.#descriptor, entriesBuffer, entriesBufferSize);
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
      return -1;
    }
  }

  [Symbol.dispose](): void {
    while (this.#open.length > 0) this.leave();
  }
}

function copyName(names: Uint8Array, from: number): boolean {
  for (let nth = 0; nth < nameBufferBytes; nth++) {
    const byte = names[from + nth] ?? 0;
    nameBuffer[nth] = byte;
    if (byte === 0) return nth > 0;
  }
  return false;
}

/** `.` or `..`, at a place in the entries. */
function isDotName(at: number): boolean {
  if (entriesBuffer[at] !== dot) return false;
  return entriesBuffer[at + 1] === 0 || (entriesBuffer[at + 1] === dot && entriesBuffer[at + 2] === 0);
}

/** Behind the NUL of the name in `names`; -1 when it is another one than that in the entries. */
function endOfEqualName(at: number, names: Uint8Array, from: number, end: number): number {
  for (let nth = 0; from + nth < end; nth++) {
    const byte = entriesBuffer[at + nth];
    if (byte !== names[from + nth]) return -1;
    if (byte === 0) return from + nth + 1;
  }
  return -1;
}
