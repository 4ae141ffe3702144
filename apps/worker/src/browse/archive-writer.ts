/** What an archive is made of; names are relative, with `/` between their parts, and safe (archive-name.ts). */
export interface ArchiveEntry {
  readonly name: string;
  /** The low twelve bits of stat(2). */
  readonly mode: number;
  readonly modifiedNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly group: string;
  readonly content: EntryContent;
}

export type EntryContent =
  | { readonly kind: 'folder' }
  | { readonly kind: 'symlink'; readonly target: string }
  /** `target`: the name of an entry before. */
  | { readonly kind: 'hardlink'; readonly target: string }
  | { readonly kind: 'file'; readonly sizeBytes: number; readonly body: AsyncIterable<Uint8Array> };

/** Writes a format of archives as a stream, one entry after the other. */
export interface ArchiveWriter {
  /** To be read while entries are added. */
  readonly output: AsyncIterable<Uint8Array>;
  readonly hasHardLinks: boolean;
  /** How many entries one archive may have. */
  readonly entriesMaxCount: number;
  /**
   * Resolves when the entry has been handed to `output`, and what waits there is within bounds. Rejects when its body fails or has another size,
   * and with the signal's reason.
   */
  add(entry: ArchiveEntry, signal: AbortSignal): Promise<void>;
  /** `output` ends. */
  end(): void;
  /** `output` fails. */
  destroy(error: Error): void;
}

/** So much of entries without a body, which come faster than they are sent, waits in memory. */
const waitingMaxBytes = 4 * 1024 * 1024;

/** Holds whoever writes back until enough was read. */
export class OutputGate {
  readonly #waitingBytes: () => number;
  #readBytes = 0;
  #isLeft = false;
  #waiting: (() => void) | undefined;

  /** `waitingBytes`: what was written and not read yet. */
  constructor(waitingBytes: () => number) {
    this.#waitingBytes = waitingBytes;
  }

  /** Resolves when what waits is within bounds, or nobody reads any longer. */
  async opened(): Promise<void> {
    while (!this.#isLeft && this.#waitingBytes() > waitingMaxBytes) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }

  get readBytes(): number {
    return this.#readBytes;
  }

  /** Passes on what is read. */
  async *through(output: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const bytes of output) {
        this.#readBytes += bytes.length;
        this.#wake();
        yield bytes;
      }
    } finally {
      this.#isLeft = true;
      this.#wake();
    }
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}
