import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { FileContent } from './stream-file.ts';

/** Of a text that nobody reads yet; most programs have said all that they say by then, and their connections are closed. */
const aheadBytes = 1024 * 1024;

/** The text of a program that begins before its file is read, while something else is waited for. To be read or disposed of. */
export class BegunContent implements AsyncDisposable {
  readonly #givenUp = new AbortController();
  readonly #content: AsyncGenerator<Uint8Array, void, undefined>;
  readonly #pieces: Uint8Array[] = [];
  readonly #readAhead: Promise<void>;

  constructor(begin: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void, undefined>, signal: AbortSignal) {
    this.#content = begin(AbortSignal.any([signal, this.#givenUp.signal]));
    this.#readAhead = this.#read();
    // Who reads it hears of it.
    this.#readAhead.catch(() => undefined);
  }

  /** Once. Throws what the program failed with. */
  async *content(): FileContent {
    try {
      await this.#readAhead;
      yield* this.#pieces;
      yield* this.#content;
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#givenUp.abort(new HoldfastError('internal', 'a text that had begun was given up'));
    await this.#readAhead.catch(() => undefined);
    await this.#content.return();
  }

  async #read(): Promise<void> {
    for (let heldBytes = 0; heldBytes < aheadBytes;) {
      const next = await this.#content.next();
      if (next.done === true) return;
      this.#pieces.push(next.value);
      heldBytes += next.value.length;
    }
  }
}
