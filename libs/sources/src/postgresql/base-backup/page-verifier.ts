import type { Lsn } from '../lsn.ts';
import { pageChecksum, pageSizeBytes } from './page-checksum.ts';
import { relationFile, type RelationFile } from './relation-file.ts';

/**
 * Checks the pages of one relation file while it passes. Two kinds of pages say nothing: those that were never used, and those that were
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

/** Head of an INCREMENTAL file: magic, how many blocks, truncation length, then a u32 a block; padded to a page when there are blocks. */
const incrementalMagic = 0xd3ae_1f0d;
const incrementalHeadBytes = 12;
const maxBlocksPerFile = 131_072;

export class PageVerifier {
  readonly #file: string;
  readonly #relation: RelationFile;
  readonly #startLsn: Lsn;
  readonly #onBadPage: (page: BadPage) => void;
  readonly #page = new Uint8Array(pageSizeBytes);
  readonly #words = new Int32Array(this.#page.buffer);
  readonly #view = new DataView(this.#page.buffer);
  #filledBytes = 0;
  #pageCount = 0;
  /** Of an incremental file, until its head is whole. */
  #head: Buffer | null;
  #blocks: Uint32Array | null = null;
  #paddingBytes = 0;
  checkedCount = 0;

  constructor(file: string, relation: RelationFile, startLsn: Lsn, onBadPage: (page: BadPage) => void) {
    this.#file = file;
    this.#relation = relation;
    this.#startLsn = startLsn;
    this.#onBadPage = onBadPage;
    this.#head = relation.isIncremental ? Buffer.alloc(0) : null;
  }

  /** The next bytes of the file. Copies them, a page at a time: pages must lie on word boundaries. */
  update(bytes: Uint8Array): void {
    let from = this.#head === null ? 0 : this.#readHead(bytes);
    const skipped = Math.min(this.#paddingBytes, bytes.length - from);
    this.#paddingBytes -= skipped;
    from += skipped;
    while (from < bytes.length) {
      const taken = Math.min(pageSizeBytes - this.#filledBytes, bytes.length - from);
      this.#page.set(bytes.subarray(from, from + taken), this.#filledBytes);
      this.#filledBytes += taken;
      from += taken;
      if (this.#filledBytes === pageSizeBytes) {
        this.#check();
        this.#filledBytes = 0;
      }
    }
  }

  #check(): void {
    const index = this.#pageCount++;
    const upper = this.#view.getUint16(14, true);
    if (upper === 0 || this.#isNewerThanStart()) return;
    const block = this.#relation.firstBlock + (this.#blocks === null ? index : (this.#blocks[index] ?? 0));
    const found = this.#view.getUint16(8, true);
    const expected = pageChecksum(this.#words, 0, block);
    this.checkedCount++;
    if (expected !== found) this.#onBadPage({ file: this.#file, block, expected, found });
  }

  #isNewerThanStart(): boolean {
    const high = this.#view.getUint32(0, true);
    const startHigh = Number(this.#startLsn >> 32n);
    if (high !== startHigh) return high > startHigh;
    return this.#view.getUint32(4, true) >= Number(this.#startLsn & 0xffff_ffffn);
  }

  /** How many of these bytes belong to the head. A file without its magic is left alone: whoever combines it will say so. */
  #readHead(bytes: Uint8Array): number {
    const before = this.#head?.length ?? 0;
    const head = Buffer.concat([this.#head ?? Buffer.alloc(0), bytes]);
    this.#head = head;
    if (head.length < incrementalHeadBytes) return bytes.length;
    const count = head.readUInt32LE(4);
    if (head.readUInt32LE(0) !== incrementalMagic || count > maxBlocksPerFile) return bytes.length;
    const length = incrementalHeadBytes + 4 * count;
    if (head.length < length) return bytes.length;
    this.#blocks = Uint32Array.from({ length: count }, (_, index) => head.readUInt32LE(incrementalHeadBytes + 4 * index));
    this.#paddingBytes = count === 0 ? 0 : (pageSizeBytes - (length % pageSizeBytes)) % pageSizeBytes;
    this.#head = null;
    return length - before;
  }
}

/** A verifier for the file, or null when it holds no pages. */
export function pageVerifierFor(file: string, startLsn: Lsn, onBadPage: (page: BadPage) => void): PageVerifier | null {
  const relation = relationFile(file);
  return relation === null ? null : new PageVerifier(file, relation, startLsn, onBadPage);
}
