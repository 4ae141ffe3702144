import { changedWord, modeWord, modifiedWord, wordsPerStat } from './stat-words.ts';
import { pathToBytes } from './system-path.ts';

/**
 * What a backup saw of a folder when it listed it, for a later one to compare with: the names, and for each the words of its stat (see
 * stat-words.ts). Two words in place of a mode say what is not to be compared.
 */

/** Left out of the backup by its path or by a tag beside it: whatever is there does not matter. */
export const leftOut = 0;
/** Never the same: not looked at, not wholly stored, or perhaps changed since. */
export const spoiled = 0xffff_ffff;
/** Beside the mode: looked at, and left out for what it was. */
export const notTaken = 0x1_0000;
export const modeMask = 0xffff;

/**
 * How much later than a time stamp the look must be to be sure that another change would have made another stamp. Most file systems
 * stamp with the kernel's clock, which goes on in steps of at most 10 ms; those that know whole seconds or two have stamps that end in zeros.
 */
const fineStampMs = 100;
const coarseStampMs = 2_500;
const coarseStepNs = 10_000_000;

/** One folder's record in the making. Nothing is compared of names that were not noted. */
export class FolderRecord {
  /** A NUL behind each, in the order in which the kernel told them; undefined as long as the folder has not been listed. */
  names: Uint8Array | undefined;
  stats: Uint32Array = new Uint32Array(0);
  /** The names were chosen by the source: others that are there as well do not matter. */
  isChosen = false;
  readonly #lookedAtMs: number;
  #places: Map<string, number> | undefined;

  /** `nowMs`: of the clock by which files are stamped, before anything is looked at. */
  constructor(nowMs: number) {
    this.#lookedAtMs = nowMs;
  }

  /** The record of a folder that lists the same names as before: `changed` are looked at again, with their places among the names. */
  static revised(nowMs: number, before: Pick<FolderRecord, 'stats' | 'isChosen'> & { names: Uint8Array }, changed: Map<string, number>) {
    const record = new FolderRecord(nowMs);
    record.names = before.names;
    record.isChosen = before.isChosen;
    record.stats = before.stats.slice();
    record.#places = changed;
    for (const name of changed.keys()) record.spoil(name);
    return record;
  }

  begin(names: readonly string[], isChosen = false): void {
    this.names = nameList(names);
    this.stats = new Uint32Array(names.length * wordsPerStat).fill(spoiled);
    this.isChosen = isChosen;
    this.#places = new Map(names.map((name, nth) => [name, nth]));
  }

  /** `isTaken`: it is in the listing, or belongs there as far as the rules go. */
  note(name: string, words: Uint32Array, isTaken: boolean): void {
    const at = (this.placeOf(name) ?? -1) * wordsPerStat;
    if (at < 0 || this.#mayChangeUnseen(words)) return;
    this.stats.set(words, at);
    if (!isTaken) this.stats[at + modeWord] = (words[modeWord] ?? 0) | notTaken;
  }

  leaveOut(name: string): void {
    this.#set(name, leftOut);
  }

  spoil(name: string): void {
    this.#set(name, spoiled);
  }

  placeOf(name: string): number | undefined {
    return this.#places?.get(name);
  }

  /** Nothing more is to come: the names themselves are not needed any longer. */
  seal(): void {
    this.#places = undefined;
  }

  spoilAt(place: number): void {
    this.stats[place * wordsPerStat + modeWord] = spoiled;
  }

  #set(name: string, value: number): void {
    const place = this.placeOf(name);
    if (place !== undefined) this.stats[place * wordsPerStat + modeWord] = value;
  }

  /** Whether a change after the look could leave the same stamps. Stamps of the future are no evidence of anything. */
  #mayChangeUnseen(words: Uint32Array): boolean {
    return this.#isTooNew(words, modifiedWord) || this.#isTooNew(words, changedWord);
  }

  #isTooNew(words: Uint32Array, at: number): boolean {
    const seconds = (words[at] ?? 0) + ((words[at + 1] ?? 0) | 0) * 2 ** 32;
    const ns = words[at + 2] ?? 0;
    const marginMs = ns % coarseStepNs === 0 ? coarseStampMs : fineStampMs;
    return seconds * 1000 + ns / 1e6 + marginMs >= this.#lookedAtMs;
  }
}

function nameList(names: readonly string[]): Uint8Array {
  const text = names.join('\0');
  if (names.length === 0) return new Uint8Array(0);
  const bytes = text.isWellFormed() ? Buffer.from(`${text}\0`, 'utf8') : pathToBytes(`${text}\0`);
  // Of its own: a buffer of the pool would keep all that lies beside it, such as the trees of a backup, for as long as the record lives.
  return new Uint8Array(bytes);
}
