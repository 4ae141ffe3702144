import { hash } from 'node:crypto';
import { maxChunkBytes, minChunkBytes, type Chunker } from '@holdfast/restic-format/chunker';

/**
 * Cuts one file after the other: by content, or behind records, where the source says which of their ends it has chosen. Both put cuts where
 * they were in an earlier version, wherever that part lies now; but the end of a record is known to who makes the records, and a fingerprint
 * of every byte takes a second for each gigabyte.
 */
export class FileCutter implements Chunker {
  readonly #byContent: Chunker;
  #chosenEnds: number[] | undefined;
  #positionBytes = 0;

  constructor(byContent: Chunker) {
    this.#byContent = byContent;
  }

  /** Another file begins: see SourceFile.chosenEnds. */
  begin(chosenEnds: number[] | undefined): void {
    this.#chosenEnds = chosenEnds;
    this.#positionBytes = 0;
  }

  /** As Chunker.cut, and each chunk follows the one before. */
  cut(buffer: Uint8Array, start: number, end: number, isLast: boolean): number {
    if (this.#chosenEnds === undefined) return this.#byContent.cut(buffer, start, end, isLast);
    const length = this.#cutBehindRecord(this.#chosenEnds, buffer, start, end, isLast);
    this.#positionBytes += length;
    return length;
  }

  #cutBehindRecord(chosenEnds: number[], buffer: Uint8Array, start: number, end: number, isLast: boolean): number {
    const available = end - start;
    while ((chosenEnds[0] ?? Infinity) < this.#positionBytes + minChunkBytes) chosenEnds.shift();
    const length = (chosenEnds[0] ?? Infinity) - this.#positionBytes;
    if (length <= Math.min(available, maxChunkBytes)) return length;
    // No record ends in all of a chunk, or none that was chosen.
    if (available >= maxChunkBytes) return this.#byContent.cut(buffer, start, end, isLast);
    return isLast ? available : 0;
  }
}

/** A key for chosen ends that only who has the repository's polynomial can make, since sizes of chunks show which ends were chosen. */
export function recordKeyOf(polynomial: bigint): bigint {
  return hash('sha256', `holdfast record ends ${polynomial}`, 'buffer').readBigUInt64LE();
}
