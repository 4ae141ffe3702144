import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { SourceFile } from '../../source.ts';
import type { CopiedRows } from './copy-frames.ts';

/** What a file is made of: pieces in order, once. A piece is valid until the next one is asked for. */
export type FileContent = AsyncGenerator<Uint8Array | CopiedRows, void, undefined>;

export interface StreamFileOptions {
  /** Its pieces are rows, headers and ends between them left aside: see SourceFile.chosenEnds. */
  readonly hasRows: boolean;
  /** Hears once of the end, whole or not, with the bytes that were read. */
  readonly onClose: (outcome: { readonly bytes: number; readonly isWhole: boolean }) => void;
}

/** A file of a Source that can be read forward only. Its read throws what its content throws. */
export class StreamFile implements SourceFile {
  readonly chosenEnds?: number[];
  readonly #content: FileContent;
  readonly #onClose: StreamFileOptions['onClose'];
  #part: Uint8Array = new Uint8Array();
  #positionBytes = 0;
  #isWhole = false;
  #isClosed = false;

  constructor(content: FileContent, { hasRows, onClose }: StreamFileOptions) {
    // Where it is missing files are cut by content, as texts of any other kind.
    if (hasRows) this.chosenEnds = [];
    this.#content = content;
    this.#onClose = onClose;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    invariant(positionBytes === this.#positionBytes, 'a file that is made as it is read was not read in order');
    if (this.#isClosed) throw new HoldfastError('internal', 'a closed file was read');
    while (this.#part.length === 0) {
      const next = await this.#content.next();
      if (next.done === true) {
        this.#isWhole = true;
        return 0;
      }
      this.#take(next.value);
    }
    const taken = Math.min(this.#part.length, into.length);
    into.set(this.#part.subarray(0, taken));
    this.#part = this.#part.subarray(taken);
    this.#positionBytes += taken;
    return taken;
  }

  #take(piece: Uint8Array | CopiedRows): void {
    if (piece instanceof Uint8Array) {
      this.#part = piece;
      return;
    }
    this.#part = piece.bytes;
    invariant(this.chosenEnds !== undefined, 'a file that has no rows was given some');
    for (const end of piece.chosenEnds) this.chosenEnds.push(this.#positionBytes + end);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#content.return(undefined);
    } finally {
      this.#onClose({ bytes: this.#positionBytes, isWhole: this.#isWhole });
    }
  }
}

/** A short text as a file's content. */
export async function* textContent(text: string | Promise<string>): FileContent {
  yield Buffer.from(await text);
}
