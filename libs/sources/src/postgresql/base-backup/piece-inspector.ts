import type { Lsn } from '../lsn.ts';
import { foundAddress, instantiatePageKernels, pieceAddress } from './kernels/page-kernels.ts';
import { pageSizeBytes } from './page-checksum.ts';

/**
 * Looks at a piece of a file: its CRC-32C, and of each page in it what its checksum says and ought to say. It knows nothing of files, so
 * that pieces can be looked at wherever they are, in threads too. Words go in and come out:
 *
 *     in    0  1 when the file holds pages, else 0 · 1, 2  the backup's start LSN, high and low
 *     out   0  CRC-32C · then two words a page: its number in the piece << 16 | the checksum that it says; pageFold
 *
 * Pages that were never used, or written since the start, are left out: see file-check.ts. pageFold is the checksum before the block's
 * number comes in: see page-checksum.ts.
 *
 * A piece begins where a page may: at a multiple of pageSizeBytes of its file.
 */
export interface PieceInspector {
  /** Copies the piece. */
  inspect(piece: Uint8Array, subject: Uint32Array): Uint32Array<ArrayBuffer>;
}

/** Of a piece, that are looked at together: a multiple of a page, and what a processor's core has room for in its own cache. */
const stretchBytes = 256 * 1024;
const wordsPerPage = 2;
const invert = -1;

/** For an inspection in the threads of an archive: the URL of this module, which exports openChunkInspector. */
export const pieceInspectorModule = new URL(import.meta.url);

export function subjectOf(hasPages: boolean, startLsn: Lsn): Uint32Array<ArrayBuffer> {
  return Uint32Array.of(hasPages ? 1 : 0, Number(startLsn >> 32n), Number(startLsn & 0xffff_ffffn));
}

/** Not for two threads. */
export function openChunkInspector(): PieceInspector {
  const { kernels, memory } = instantiatePageKernels(stretchBytes);
  const found = new Uint32Array(memory.buffer, foundAddress, (stretchBytes / pageSizeBytes) * wordsPerPage);
  return {
    inspect(piece, subject) {
      const [hasPages = 0, startHigh = 0, startLow = 0] = subject;
      const report = new Uint32Array(1 + (hasPages === 0 ? 0 : Math.floor(piece.length / pageSizeBytes) * wordsPerPage));
      let reportLength = 1;
      let crc = invert;
      for (let at = 0; at < piece.length; at += stretchBytes) {
        const stretch = piece.subarray(at, at + stretchBytes);
        memory.set(stretch, pieceAddress);
        if (hasPages !== 0) {
          const pageCount = Math.floor(stretch.length / pageSizeBytes);
          const foundCount = kernels.inspectPages(pieceAddress, pageCount, startHigh, startLow, foundAddress);
          const firstPage = at / pageSizeBytes;
          for (let word = 0; word < foundCount * wordsPerPage; word += wordsPerPage) {
            report[reportLength++] = (found[word] ?? 0) + firstPage * 0x1_0000;
            report[reportLength++] = found[word + 1] ?? 0;
          }
        }
        crc = kernels.crcUpdate(crc, pieceAddress, stretch.length);
      }
      report[0] = ~crc;
      return report.length === reportLength ? report : report.slice(0, reportLength);
    },
  };
}

export interface PieceReport {
  readonly crc: number;
  readonly pages: readonly PageReport[];
}

interface PageReport {
  /** Within the piece. */
  readonly index: number;
  /** What the page says. */
  readonly checksum: number;
  readonly fold: number;
}

export function decodePieceReport(words: Uint32Array): PieceReport {
  const pages: PageReport[] = [];
  for (let at = 1; at + 1 < words.length; at += wordsPerPage) {
    const head = words[at] ?? 0;
    pages.push({ index: head >>> 16, checksum: head & 0xffff, fold: words[at + 1] ?? 0 });
  }
  return { crc: words[0] ?? 0, pages };
}
