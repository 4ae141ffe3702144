import { invariant } from '@holdfast/errors/invariant';
import type { Lsn } from '../lsn.ts';
import { emptyCrc32c, joinCrc32c } from './crc32c.ts';
import { IncrementalHead } from './incremental-head.ts';
import { pageChecksum, pageSizeBytes } from './page-checksum.ts';
import { decodePieceReport, subjectOf } from './piece-inspector.ts';
import { relationFile, type RelationFile } from './relation-file.ts';

/**
 * Puts together what was found in the pieces of one file. Two kinds of pages say nothing: those that were never used, and those that were
 * written since the backup began (their LSN says so), which may be read half old and half new; recovery writes them whole out of the
 * WAL. A page that was torn the other way around looks bad although recovery mends it: rare, but a finding that another backup
 * does not repeat was one.
 */
export interface BadPage {
  /** As in the manifest. */
  readonly file: string;
  /** Counted within its relation's fork, as pageinspect does. */
  readonly block: number;
  /** What the page's content makes, and what the page says. */
  readonly expected: number;
  readonly found: number;
}

export interface CheckedFile {
  readonly crc: number;
  readonly sizeBytes: number;
  readonly checkedPageCount: number;
  readonly badPages: readonly BadPage[];
}

/** A piece, and what openChunkInspector found in it. */
export interface InspectedPiece {
  readonly sizeBytes: number;
  readonly report: Uint32Array;
}

export interface FileCheckOptions {
  /** As in the manifest. */
  readonly path: string;
  readonly startLsn: Lsn;
  /** Whether the cluster has checksums. */
  readonly arePagesChecked: boolean;
}

export class FileCheck {
  /** For whoever inspects the pieces. */
  readonly subject: Uint32Array<ArrayBuffer>;
  readonly #path: string;
  readonly #relation: RelationFile | null;
  readonly #head: IncrementalHead | null;

  constructor({ path, startLsn, arePagesChecked }: FileCheckOptions) {
    this.#path = path;
    this.#relation = arePagesChecked ? relationFile(path) : null;
    this.#head = this.#relation?.isIncremental === true ? new IncrementalHead() : null;
    this.subject = subjectOf(this.#relation !== null, startLsn);
  }

  /** The next bytes of the file, before its pieces are settled. */
  pass(bytes: Uint8Array): void {
    this.#head?.add(bytes);
  }

  /** All pieces in their order. */
  settle(pieces: readonly InspectedPiece[]): CheckedFile {
    const badPages: BadPage[] = [];
    let [crc, sizeBytes, checkedPageCount] = [emptyCrc32c, 0, 0];
    for (const piece of pieces) {
      const report = decodePieceReport(piece.report);
      crc = joinCrc32c(crc, report.crc, piece.sizeBytes);
      invariant(report.pages.length === 0 || sizeBytes % pageSizeBytes === 0, `a piece of ${this.#path} begins within a page`);
      for (const { index, checksum, fold } of report.pages) {
        const block = this.#blockOf(sizeBytes / pageSizeBytes + index);
        if (block === null) continue;
        checkedPageCount++;
        const expected = pageChecksum(fold, block);
        if (expected !== checksum) badPages.push({ file: this.#path, block, expected, found: checksum });
      }
      sizeBytes += piece.sizeBytes;
    }
    return { crc, sizeBytes, checkedPageCount, badPages };
  }

  /** Null for a page that is none. */
  #blockOf(page: number): number | null {
    if (this.#relation === null) return null;
    const inFile = this.#head === null ? page : this.#head.blockOf(page);
    return inFile === null ? null : this.#relation.firstBlock + inFile;
  }
}
