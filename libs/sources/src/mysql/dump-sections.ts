import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { cutAtMarks, type DumpPiece } from './dump-lines.ts';
import { withoutSandboxLine } from './whole-dump.ts';

/** Where the binary log of the server stood at the moment of the dump. */
export interface LogPosition {
  readonly file: string;
  readonly offset: number;
}

const positionPattern = /(?:MASTER|SOURCE)_LOG_FILE='([^']*)', (?:MASTER|SOURCE)_LOG_POS=(\d+)/u;

/**
 * One dump as many files: its settings and one section each. The sections are known before; a dump that has others, or them in another
 * order, was made while tables came or went: mysql_changed. They are read in order, each once; one that is asked for early waits.
 */
export class DumpSections implements AsyncDisposable {
  /** Resolves when the dump has begun with its first section, and so holds its moment. */
  readonly begun: Promise<void>;
  readonly #marks: readonly string[];
  readonly #pieces: AsyncGenerator<DumpPiece, void, undefined>;
  readonly #place: string;
  /** The turn of each section, and of the end. */
  readonly #turns: readonly PromiseWithResolvers<void>[];
  #settings: Buffer = Buffer.alloc(0);
  #position: LogPosition | null = null;

  /** `marks` are the lines at which the sections begin, at least one. */
  constructor(dump: AsyncIterable<Buffer>, marks: readonly string[], place: string) {
    invariant(marks.length > 0, 'a dump of nothing was begun');
    this.#marks = marks;
    this.#place = place;
    this.#pieces = cutAtMarks(dump);
    this.#turns = Array.from({ length: marks.length + 1 }, () => Promise.withResolvers<void>());
    for (const { promise } of this.#turns) promise.catch(() => undefined);
    this.begun = this.#readSettings();
    this.begun.then(
      () => this.#turns[0]?.resolve(),
      (error: unknown) => this.#fail(error),
    );
  }

  /** The section behind the settings of the dump: good to be run by itself. */
  async *content(index: number): AsyncGenerator<Buffer, void, undefined> {
    let isPassed = false;
    try {
      await this.#turns[index]?.promise;
      const settings = this.#settings;
      yield settings;
      yield Buffer.from(`${this.#marks[index] ?? ''}\n`);
      for (;;) {
        const next = await this.#pieces.next();
        if (next.done === true) throw this.#endedEarly();
        if (next.value.kind === 'bytes') {
          yield next.value.bytes;
          continue;
        }
        if (index + 1 === this.#marks.length) await this.#readEnd(next.value.text);
        else this.#expect(next.value.text, index + 1);
        isPassed = true;
        this.#turns[index + 1]?.resolve();
        return;
      }
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      if (!isPassed) this.#fail(new HoldfastError('internal', 'a section of a dump was not read to its end'));
    }
  }

  /** When all has been read and the dump has said that it is whole. */
  async end(): Promise<{ readonly position: LogPosition | null }> {
    await this.#turns.at(-1)?.promise;
    return { position: this.#position };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new HoldfastError('internal', 'a dump was given up'));
    await this.#pieces.return();
  }

  async #readSettings(): Promise<void> {
    const parts: Buffer[] = [];
    for (;;) {
      const next = await this.#pieces.next();
      if (next.done === true) throw this.#endedEarly();
      const piece = next.value;
      if (piece.kind === 'bytes') {
        parts.push(piece.bytes);
        continue;
      }
      const [, file, offset] = positionPattern.exec(piece.text) ?? [];
      if (file !== undefined) this.#position = { file, offset: Number(offset) };
      if (piece.text.startsWith('-- CHANGE ')) continue;
      this.#expect(piece.text, 0);
      this.#settings = withoutSandboxLine(Buffer.concat(parts));
      return;
    }
  }

  #expect(text: string, index: number): void {
    const expected = this.#marks[index] ?? '';
    if (text === expected) return;
    throw new HoldfastError('mysql_changed', `the dump of ${this.#place} has "${text.slice(3)}" where "${expected.slice(3)}" was expected`);
  }

  /** Behind the last table the databases are named again, for their views, which are not in this dump. */
  async #readEnd(first: string): Promise<void> {
    for (let text = first; text !== '-- Dump completed';) {
      if (!text.startsWith('-- Current Database: ')) {
        throw new HoldfastError('mysql_changed', `the dump of ${this.#place} has "${text.slice(3)}" where its end was expected`);
      }
      text = await this.#nextMark();
    }
    // Its exit code is known when it has said all.
    for (let next = await this.#pieces.next(); next.done !== true; next = await this.#pieces.next()) {
      if (next.value.kind === 'mark') throw this.#endedEarly();
    }
  }

  async #nextMark(): Promise<string> {
    for (;;) {
      const next = await this.#pieces.next();
      if (next.done === true) throw this.#endedEarly();
      if (next.value.kind === 'mark') return next.value.text;
    }
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#turns) reject(error);
  }

  #endedEarly(): HoldfastError {
    return new HoldfastError('mysql_interrupted', `the dump of ${this.#place} ended without saying that it is complete`);
  }
}
