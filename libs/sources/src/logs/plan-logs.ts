import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { FoundFile } from '../glob-files.ts';
import type { ContinuedFile, SkippedEntry } from '../source.ts';
import { printablePath } from '../system-path.ts';
import { FreeLogs } from './free-logs.ts';
import { LogCopies } from './log-copies.ts';
import type { LogEntry } from './log-manifest.ts';
import { digestOf } from './log-reading.ts';
import { isLog, lookAtLog, type LookedAtLog } from './looked-at-log.ts';

/** A file that a run stores, and what it is. */
export interface PlannedLog {
  readonly file: FoundFile;
  readonly entry: LogEntry;
  /** Where the last snapshot has it. */
  readonly continues?: ContinuedFile;
  /** Whether the last snapshot has all of it already. */
  readonly isUnchanged: boolean;
}

export interface LogPlan {
  readonly logs: readonly PlannedLog[];
  /** What the manifest is to say: of the files that are there, and of logs that were. */
  readonly entries: readonly LogEntry[];
  readonly skipped: readonly SkippedEntry[];
  readonly warnings: readonly string[];
}

export interface PlanOptions {
  /** Of the run: names what is new. */
  readonly startedAt: Date;
  readonly signal: AbortSignal;
}

/**
 * Finds for each file which log it is and what of it is new, by the manifest of the last run. A file is the log that its inode held if it is
 * no shorter than that was, begins alike and has the same bytes where that ended; a file without a log, compressed or not, takes the log that
 * it goes on in the same way, if no other file has it (a copy that outlives its original, a compressed one); one that has the beginning of a
 * log that is still there is a copy of it; and what is left is a new log.
 * Errors: those of reading that are no file's own, and the signal's reason.
 */
export async function planLogs(found: readonly FoundFile[], before: readonly LogEntry[], options: PlanOptions): Promise<LogPlan> {
  const planner = new LogPlanner(before, options);
  await planner.plan(found);
  const logs = planner.logs.toSorted((a, b) => compareText(a.file.path, b.file.path));
  return { logs, entries: planner.entries(), skipped: planner.skipped, warnings: planner.warnings };
}

/** Places at which the text of a compressed file is held against logs; beyond so many it counts as new. */
const maxPlaceCount = 4096;
/** A log whose file has gone may come back: renamed while the folder was listed, or compressed. Beyond so many it counts as new then. */
const maxGoneCount = 1024;

class LogPlanner {
  readonly logs: PlannedLog[] = [];
  readonly skipped: SkippedEntry[] = [];
  readonly warnings: string[] = [];
  readonly #options: PlanOptions;
  readonly #byInode = new Map<string, LogEntry>();
  readonly #free = new FreeLogs();
  readonly #unreadable = new Set<FoundFile>();
  readonly #copies: LogCopies;
  readonly #stamp: string;
  #newCount = 0;

  constructor(before: readonly LogEntry[], options: PlanOptions) {
    this.#options = options;
    this.#copies = new LogCopies(options.signal);
    this.#stamp = options.startedAt.toISOString().replaceAll(/[-:.]/gu, '');
    // An inode that was used again is the later file's.
    const goneFirst = before.toSorted((a, b) => Number(b.state === 'gone') - Number(a.state === 'gone'));
    for (const entry of goneFirst) {
      this.#byInode.set(`${entry.device} ${entry.inode}`, entry);
      if (isLogHolder(entry)) this.#free.add(entry);
    }
  }

  async plan(found: readonly FoundFile[]): Promise<void> {
    const first = new Map<string, FoundFile>();
    const links: FoundFile[] = [];
    for (const file of found) {
      if (first.has(keyOf(file))) links.push(file);
      else first.set(keyOf(file), file);
    }
    const copies: FoundFile[] = [];
    const others: FoundFile[] = [];
    for (const [key, file] of first) {
      const before = this.#byInode.get(key);
      if (before?.state === 'copy' && isSame(file, before)) copies.push(file);
      else if (!(await this.#byItself(file, before))) others.push(file);
    }
    // A copy whose original is no longer there may be where its log goes on.
    for (const file of copies) if (!this.#keepCopy(file, (before) => !this.#free.has(before.log))) others.push(file);
    const compressed: FoundFile[] = [];
    for (const file of others) await this.#byContent(file, (packed) => compressed.push(packed));
    for (const file of compressed) await this.#byContent(file);
    this.#addLinks(links);
  }

  entries(): LogEntry[] {
    const copied = new Set(this.logs.flatMap(({ entry }) => (entry.state === 'copy' ? [entry.log] : [])));
    const gone = [...this.#free.values()].map((entry): LogEntry => ({ ...entry, state: 'gone' }));
    const kept = gone.toSorted((a, b) => compareText(b.run, a.run)).filter((entry, nth) => nth < maxGoneCount || copied.has(entry.log));
    const all = [...this.logs.map(({ entry }) => entry), ...kept];
    return all.toSorted((a, b) => compareText(a.path, b.path) || compareText(a.log, b.log));
  }

  /** What the inode tells; false when the file has to be looked at more closely. */
  async #byItself(file: FoundFile, before: LogEntry | undefined): Promise<boolean> {
    if (before === undefined || before.state === 'copy') return false;
    const isAsBefore = isSame(file, before) && before.state !== 'gone';
    if (isAsBefore && (before.state === 'incomplete' || this.#free.has(before.log))) {
      this.#keep(file, before);
      return true;
    }
    if (before.state === 'incomplete' || before.encoding !== undefined || !this.#free.has(before.log)) return false;
    const goesOn = await this.#look(file, null, async (looked) => {
      if (looked.encoding !== undefined || !(await isLog(looked, before))) return false;
      this.#goOn(file, before, looked);
      return true;
    });
    return goesOn === true;
  }

  #keepCopy(file: FoundFile, may: (before: LogEntry) => boolean): boolean {
    const before = this.#byInode.get(keyOf(file));
    if (before?.state !== 'copy' || !isSame(file, before) || !may(before)) return false;
    this.#keep(file, before);
    return true;
  }

  /** `postpone` is given what is compressed: whoever is not may have the log by then. */
  async #byContent(file: FoundFile, postpone?: (file: FoundFile) => void): Promise<void> {
    if (this.#unreadable.has(file)) return;
    const places = postpone === undefined ? this.#places() : null;
    await this.#look(file, places, async (looked) => {
      if (looked.encoding !== undefined && postpone !== undefined) return postpone(file);
      if (!looked.isWhole) {
        this.warnings.push(`${printablePath(file.path)} is compressed and ends before its end: nothing of it counts as picked up yet`);
        this.#add(file, { ...this.#newEntry(file, looked), state: 'incomplete' });
        return;
      }
      const log = await this.#logOf(looked);
      const original = log === null ? await this.#copies.originalOf(file, looked) : null;
      if (log !== null) this.#goOn(file, log, looked);
      else if (original !== null) this.#addCopy(file, original, looked);
      else if (!this.#keepCopy(file, () => true)) this.#add(file, this.#newEntry(file, looked), undefined, looked.head);
    });
  }

  #places(): number[] {
    return [...new Set([...this.#free.values()].map(({ toByte }) => toByte))].slice(0, maxPlaceCount);
  }

  /** The free log that the file goes on: the one of which most is known. */
  async #logOf(looked: LookedAtLog): Promise<LogEntry | null> {
    for (const entry of this.#free.beginningAs(looked.head)) if (await isLog(looked, entry)) return entry;
    return null;
  }

  #keep(file: FoundFile, before: LogEntry): void {
    this.#add(file, { ...before, ...factsOf(file) }, before);
  }

  #goOn(file: FoundFile, before: LogEntry, looked: LookedAtLog): void {
    const { encoding, sizeBytes: toByte, head, tail } = looked;
    const { encoding: _former, ...known } = before;
    const grown = toByte > before.toByte ? { fromByte: before.toByte, toByte, run: this.#options.startedAt.toISOString() } : {};
    const entry: LogEntry = {
      ...known,
      ...factsOf(file),
      state: 'present',
      ...grown,
      head: digestOf(head),
      tail,
      ...(encoding === undefined ? {} : { encoding }),
    };
    this.#add(file, entry, encoding === before.encoding ? before : undefined, head);
  }

  #addCopy(file: FoundFile, { log, origin, run }: LogEntry, looked: LookedAtLog): void {
    this.#add(file, { ...this.#newEntry(file, looked), log, origin, run, state: 'copy', fromByte: 0, toByte: 0 });
  }

  /** Second names of files, and files that were renamed while the folder was listed. */
  #addLinks(files: readonly FoundFile[]): void {
    const firsts = new Map(this.logs.map(({ file, entry }) => [keyOf(file), entry]));
    for (const file of files) {
      const entry = firsts.get(keyOf(file));
      if (entry !== undefined) this.#add(file, { ...entry, ...factsOf(file), state: 'copy', fromByte: 0, toByte: 0 });
    }
  }

  #newEntry(file: FoundFile, { encoding, sizeBytes, head, tail }: LookedAtLog): LogEntry {
    return {
      log: `${this.#stamp}-${++this.#newCount}`,
      origin: file.path,
      state: 'present',
      ...factsOf(file),
      fromByte: 0,
      toByte: sizeBytes,
      run: this.#options.startedAt.toISOString(),
      head: digestOf(head),
      tail,
      ...(encoding === undefined ? {} : { encoding }),
    };
  }

  /** `before`: what the last snapshot has of the same file, whatever its path. */
  #add(file: FoundFile, entry: LogEntry, before?: LogEntry, head?: Uint8Array): void {
    const isStored = before !== undefined && before.state !== 'gone';
    // A file of the same size that was written to is read as a whole.
    const isGrownOrMoved = before?.sizeBytes !== file.sizeBytes || before.modified === String(file.modifiedNs);
    const continues = isStored && isGrownOrMoved ? { continues: { path: before.path, sizeBytes: before.sizeBytes } } : {};
    const isUnchanged = isStored && isSame(file, before);
    this.logs.push({ file, entry, isUnchanged, ...continues });
    if (isLogHolder(entry)) {
      this.#free.delete(entry.log);
      this.#copies.add(file, entry, head);
    }
  }

  /** What cannot be read is left out and told; the log that it held is kept in mind. */
  async #look<T>(file: FoundFile, places: readonly number[] | null, use: (looked: LookedAtLog) => Promise<T>): Promise<T | null> {
    try {
      return await lookAtLog(file, { places, signal: this.#options.signal }, use);
    } catch (error) {
      if (!isHoldfastError(error, 'path_not_readable')) throw error;
      this.skipped.push({ path: printablePath(file.path), reason: error.message });
      this.#unreadable.add(file);
      return null;
    }
  }
}

/** An entry whose file has bytes of a log that no other counts. */
function isLogHolder({ state }: LogEntry): boolean {
  return state === 'present' || state === 'gone';
}

function keyOf({ device, inode }: FoundFile): string {
  return `${device} ${inode}`;
}

/** Whether nobody has written to the file since, as far as can be seen. */
function isSame({ sizeBytes, modifiedNs }: FoundFile, before: LogEntry): boolean {
  return before.sizeBytes === sizeBytes && before.modified === String(modifiedNs);
}

function factsOf({ path, device, inode, sizeBytes, modifiedNs, changedNs }: FoundFile) {
  return { path, device: String(device), inode: String(inode), sizeBytes, modified: String(modifiedNs), changed: String(changedNs) };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
