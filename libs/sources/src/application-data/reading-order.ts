import type { SourceFile } from '../source.ts';
import type { Part } from './part.ts';

export interface ReadingOrderOptions {
  readonly parts: readonly Part[];
  /** `/srv`: the top folders of the files of the machine. */
  readonly tops: ReadonlySet<string>;
  /** Where the parts are: `/application-data`. */
  readonly folder: string;
  readonly onFilesRead: () => void;
}

/** Files of a part that are read at once, where it does not say: what it makes comes from one program or one stream. */
const defaultFilesAtOnce = 2;
/**
 * Readers and folders of parts that may wait for the files of the machine. A walk has a bounded number of each in hand (64 and more), in which there
 * has to be room for the manifests, that wait longest: when all were waiting it would not get to the files. Beyond these the parts go first.
 */
const maxWaitingFiles = 24;
const maxWaitingFolders = 16;

/**
 * Who may read when: the files of the machine first, then those of each part, in the order in which they are asked for and as many at once as
 * the part likes, and the manifest at the end.
 */
export class ReadingOrder {
  /** Resolves when all files of the machine and of all parts have been read and stored; rejects with the reason of `end`. */
  readonly allRead: Promise<void>;
  readonly #read = Promise.withResolvers<void>();
  readonly #gate = Promise.withResolvers<void>();
  readonly #options: ReadingOrderOptions;
  readonly #topsLeft: Set<string>;
  readonly #partsLeft: Set<string>;
  readonly #lines: ReadonlyMap<Part, Line>;
  #waitingFiles = 0;
  #partFolders = 0;

  constructor(options: ReadingOrderOptions) {
    this.#options = options;
    this.allRead = this.#read.promise;
    this.allRead.catch(() => undefined);
    this.#gate.promise.catch(() => undefined);
    this.#topsLeft = new Set(options.tops);
    this.#partsLeft = new Set(options.parts.map(({ name }) => `${options.folder}/${name}`));
    this.#lines = new Map(options.parts.map((part) => [part, new Line(part.source.concurrentFiles ?? defaultFilesAtOnce)]));
    if (this.#topsLeft.size === 0) this.#gate.resolve();
    this.#settle();
  }

  folderStored(path: string): void {
    if (this.#topsLeft.delete(path) && this.#topsLeft.size === 0) {
      this.#gate.resolve();
      this.#options.onFilesRead();
    }
    this.#partsLeft.delete(path);
    this.#settle();
  }

  #settle(): void {
    if (this.#partsLeft.size === 0 && this.#topsLeft.size === 0) this.#read.resolve();
  }

  partFolderListed(): void {
    this.#partFolders++;
    if (this.#partFolders > maxWaitingFolders) this.#gate.resolve();
  }

  /** Opens a file of a part when it is its turn; the next one has it when this one is closed. */
  async open(part: Part, open: () => Promise<SourceFile>): Promise<SourceFile> {
    const line = this.#lines.get(part);
    if (line === undefined) return await open();
    this.#waitingFiles++;
    if (this.#waitingFiles > maxWaitingFiles) this.#gate.resolve();
    await this.#gate.promise;
    this.#waitingFiles--;
    await line.enter();
    try {
      return new FileInLine(await open(), () => line.leave());
    } catch (error) {
      line.leave();
      throw error;
    }
  }

  /** Nothing is read any more: whoever waits hears of it. */
  end(reason: unknown): void {
    this.#gate.reject(reason);
    this.#read.reject(reason);
    for (const line of this.#lines.values()) line.end(reason);
  }
}

/** Readers of one part: so many at once, the others in the order in which they came. */
class Line {
  #free: number;
  readonly #waiting: PromiseWithResolvers<void>[] = [];
  #ended: { readonly reason: unknown } | undefined;

  constructor(count: number) {
    this.#free = count;
  }

  async enter(): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended.reason;
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    const turn = Promise.withResolvers<void>();
    this.#waiting.push(turn);
    await turn.promise;
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next.resolve();
  }

  end(reason: unknown): void {
    this.#ended ??= { reason };
    for (const turn of this.#waiting.splice(0)) turn.reject(reason);
  }
}

class FileInLine implements SourceFile {
  readonly chosenEnds?: number[];
  readonly #file: SourceFile;
  readonly #leave: () => void;
  #isClosed = false;

  constructor(file: SourceFile, leave: () => void) {
    // The very list: whoever reads takes out of it what the file puts in.
    if (file.chosenEnds !== undefined) this.chosenEnds = file.chosenEnds;
    this.#file = file;
    this.#leave = leave;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    return await this.#file.read(into, positionBytes);
  }

  async close(): Promise<void> {
    try {
      await this.#file.close();
    } finally {
      if (!this.#isClosed) this.#leave();
      this.#isClosed = true;
    }
  }
}
