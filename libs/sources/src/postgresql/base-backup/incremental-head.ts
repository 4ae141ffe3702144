import { pageSizeBytes } from './page-checksum.ts';

/**
 * The head of an INCREMENTAL file as it passes: which blocks the pages behind it are. Little endian:
 *
 *     u32 magic · u32 how many blocks · u32 length after truncation · u32 a block · zeros up to a multiple of a page when there are blocks
 */
const magic = 0xd3ae_1f0d;
const fixedBytes = 12;
const maxBlocksPerFile = 131_072;

export class IncrementalHead {
  #head: Buffer | null = Buffer.alloc(0);
  #blocks: Uint32Array | null = null;
  #firstPage = 0;

  /** The next bytes of the file. A file without its magic is left alone: whoever combines it will say so. */
  add(bytes: Uint8Array): void {
    if (this.#head === null) return;
    const head = Buffer.concat([this.#head, bytes]);
    this.#head = head;
    if (head.length < fixedBytes) return;
    const count = head.readUInt32LE(4);
    if (head.readUInt32LE(0) !== magic || count > maxBlocksPerFile) {
      this.#head = null;
      return;
    }
    const length = fixedBytes + 4 * count;
    if (head.length < length) return;
    this.#blocks = Uint32Array.from({ length: count }, (_, index) => head.readUInt32LE(fixedBytes + 4 * index));
    this.#firstPage = Math.ceil(length / pageSizeBytes);
    this.#head = null;
  }

  /** The block that page `page` of the file is, in its file; null when it is none. */
  blockOf(page: number): number | null {
    return this.#blocks?.[page - this.#firstPage] ?? null;
  }
}
