import type { CheckedFile, FileCheck, InspectedPiece } from './file-check.ts';
import { openChunkInspector, type PieceInspector } from './piece-inspector.ts';

/**
 * The content of a file of a base backup, to be taken to its end before the next entry, in one of two ways:
 *
 * - as an iteration, which inspects it here on the way;
 * - by `read`, into wherever the taker wants it. The taker cuts it into pieces, each beginning at a multiple of pageSizeBytes, has an
 *   inspector of openChunkInspector look at them with `subject`, and tells of them by `onInspected` before it asks for the backup's end.
 */
export class FileContent implements AsyncIterable<Uint8Array> {
  readonly subject: Uint32Array<ArrayBuffer>;
  readonly #check: FileCheck;
  readonly #readNext: (into: Uint8Array) => Promise<number>;
  readonly #sizeBytes: number;
  readonly #onChecked: (file: CheckedFile) => void;

  constructor(
    check: FileCheck,
    sizeBytes: number,
    readNext: (into: Uint8Array) => Promise<number>,
    onChecked: (file: CheckedFile) => void,
  ) {
    this.subject = check.subject;
    this.#check = check;
    this.#sizeBytes = sizeBytes;
    this.#readNext = readNext;
    this.#onChecked = onChecked;
  }

  /** Fills `into`; returns the bytes, fewer only where the content ends, and 0 at its end. Codes: those of receiveBaseBackup. */
  async read(into: Uint8Array): Promise<number> {
    const count = await this.#readNext(into);
    this.#check.pass(into.subarray(0, count));
    return count;
  }

  /** All pieces in their order. */
  onInspected(pieces: readonly InspectedPiece[]): void {
    this.#onChecked(this.#check.settle(pieces));
  }

  /** Pieces are the taker's own. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    const inspector = (ownInspector ??= openChunkInspector());
    const pieces: InspectedPiece[] = [];
    for (let leftBytes = this.#sizeBytes; leftBytes > 0;) {
      const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, leftBytes));
      await this.read(piece);
      leftBytes -= piece.length;
      pieces.push({ sizeBytes: piece.length, report: inspector.inspect(piece, this.subject) });
      // Before the last piece: a taker that counts bytes need not ask for what comes after it.
      if (leftBytes === 0) this.onInspected(pieces);
      yield piece;
    }
  }
}

/** A multiple of pageSizeBytes. */
const pieceBytes = 256 * 1024;
let ownInspector: PieceInspector | undefined;
