import type { Cipher } from '@holdfast/restic-format/cipher';
import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import { openPackHeader, packTailBytes, packTailLength, type PackedBlob } from '@holdfast/restic-format/pack';
import { decodeTree } from '@holdfast/restic-format/tree';
import type { OpenObject } from '@holdfast/storage/local/local-object';
import { segmentBytes, type BlobUnpacker } from './blob-unpacker.ts';
import { isDamage } from './damage.ts';
import type { NewFinding } from './finding-list.ts';
import { PackedEntries } from './packed-entries.ts';
import { maxSegmentBytes, type OnUnpacked, type SegmentUnpacker } from './segment-unpacker.ts';
import { TreeReferenceWriter } from './tree-references.ts';

export interface PackToCheck {
  readonly packId: ObjectId;
  /** What the index says lies in it; none for a pack that is in no index, whose damage costs nothing and is a warning. */
  readonly indexed: PackedEntries;
  /** Whether the trees in it are to be read. */
  readonly readsTrees: boolean;
}

export interface CheckedPack {
  readonly bytesRead: number;
  readonly blobsChecked: number;
  readonly findings: readonly NewFinding[];
  /** See tree-references.ts. */
  readonly trees?: Uint8Array<ArrayBuffer>;
}

export interface PackCheckTools {
  /** For the blobs of a whole segment. */
  readonly segments: SegmentUnpacker;
  /** For a blob that is not where it should be, or longer than any chunk. */
  readonly unpacker: BlobUnpacker;
  readonly cipher: Cipher;
  /** Called before each piece of work that may take a tenth of a second. */
  readonly throwIfAborted: () => void;
}

/** A pack that cannot be read at all, as its result. */
export function unreadablePack({ packId, indexed }: PackToCheck, reason: string): CheckedPack {
  const severity = indexed.count === 0 ? 'warning' : 'damage';
  const finding = { kind: 'pack_missing', severity, message: reason, objectName: packName(packId), packId, hitsWholePack: true } as const;
  return { bytesRead: 0, blobsChecked: 0, findings: [finding] };
}

/**
 * Reads a pack once from its beginning to its end and checks all of it: its hash, its header, every blob. Segment by segment, so
 * that it needs the memory of one segment, or of the longest blob.
 */
export function checkPack(pack: PackToCheck, object: OpenObject, tools: PackCheckTools): CheckedPack {
  return new PackCheck(pack, object, tools).run();
}

class PackCheck {
  readonly #pack: PackToCheck;
  readonly #object: OpenObject;
  readonly #tools: PackCheckTools;
  readonly #findings: NewFinding[] = [];
  readonly #trees = new TreeReferenceWriter();
  readonly #severity: NewFinding['severity'];

  constructor(pack: PackToCheck, object: OpenObject, tools: PackCheckTools) {
    this.#pack = pack;
    this.#object = object;
    this.#tools = tools;
    this.#severity = pack.indexed.count === 0 ? 'warning' : 'damage';
  }

  run(): CheckedPack {
    const { packId, indexed } = this.#pack;
    const header = this.#readHeader();
    if (indexed.count > 0 && header !== undefined && !header.equals(indexed.sorted())) this.#compareWithIndex(header);
    const blobs = indexed.count > 0 ? indexed.sorted() : (header ?? indexed);
    if (this.#readAll(blobs) !== packId) {
      this.#add({ kind: 'object_hash_wrong', message: `${packName(packId)} does not have the content that its name says` });
    }
    const trees = this.#trees.take();
    const result = { bytesRead: this.#object.sizeBytes, blobsChecked: blobs.count, findings: this.#findings };
    return trees === undefined ? result : { ...result, trees };
  }

  #readHeader(): PackedEntries | undefined {
    const { sizeBytes } = this.#object;
    try {
      let tail = this.#read(Math.max(0, sizeBytes - packTailBytes), sizeBytes);
      const tailLength = packTailLength(tail, sizeBytes);
      if (tailLength > tail.length) tail = this.#read(sizeBytes - tailLength, sizeBytes);
      return PackedEntries.ofPackHeader(openPackHeader(tail, sizeBytes, this.#tools.cipher));
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#add({ kind: 'pack_header_wrong', message: `the header of pack ${this.#pack.packId} cannot be read: ${error.message}` });
      return undefined;
    }
  }

  #read(start: number, end: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#tools.unpacker.window(end - start).subarray(0, end - start);
    this.#object.read(bytes, start);
    return bytes;
  }

  /** Checks the blobs, which are in the order of their offsets, and gives the hash of the whole pack. */
  #readAll(blobs: PackedEntries): ObjectId {
    const { segments, throwIfAborted } = this.#tools;
    const { sizeBytes } = this.#object;
    const onUnpacked: OnUnpacked = (nth, plain, reason) => {
      if (plain === undefined) this.#addDamagedBlob(blobs.at(nth), reason);
      else if (this.#pack.readsTrees && blobs.isTreeAt(nth)) this.#readTree(blobs.idAt(nth), plain);
    };
    let next = 0;
    segments.beginPack();
    for (let start = 0; start < sizeBytes;) {
      throwIfAborted();
      // Those that another one overlaps, or that reach beyond the end: the index is wrong, and each is looked at by itself.
      while (next < blobs.count && (blobs.offsetAt(next) < start || endOf(blobs, next) > sizeBytes)) this.#checkAlone(blobs.at(next++));
      const { end, behind } = segmentAt(blobs, next, start, sizeBytes);
      // Longer than any chunk: it is by itself in its segment, whose parts then hold no blob. One without any bytes has a segment too.
      let from = next;
      if (end - start > maxSegmentBytes) while (from < behind) this.#checkAlone(blobs.at(from++));
      let at = start;
      do {
        const partBytes = Math.min(end - at, maxSegmentBytes);
        this.#object.read(segments.window(partBytes), at);
        segments.add({ start: at, sizeBytes: partBytes, blobs, from, behind }, onUnpacked);
        from = behind;
        at += partBytes;
      } while (at < end);
      next = behind;
      start = end;
    }
    while (next < blobs.count) this.#checkAlone(blobs.at(next++));
    return Buffer.from(segments.packDigest()).toString('hex');
  }

  #checkAlone(blob: PackedBlob): void {
    const { id, type, offset, length, uncompressedLength = 0 } = blob;
    try {
      this.#read(offset, Math.min(offset + length, Math.max(offset, this.#object.sizeBytes)));
      const plain = this.#tools.unpacker.unpack(0, Math.max(0, Math.min(length, this.#object.sizeBytes - offset)), uncompressedLength, id);
      if (type === 'tree' && this.#pack.readsTrees) this.#readTree(id, plain);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#addDamagedBlob(blob, error.message);
    }
  }

  /** A tree that has its hash and is none: the program that made it was wrong. The walk of the snapshots comes upon it if it is in use. */
  #readTree(id: ObjectId, plain: Uint8Array): void {
    try {
      if (!this.#trees.addText(id, plain)) this.#trees.add(id, decodeTree(plain));
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }

  #compareWithIndex(header: PackedEntries): void {
    const { packId, indexed } = this.#pack;
    const inPack = new Set(Array.from({ length: header.count }, (_, nth) => describe(header.at(nth))));
    for (let nth = 0; nth < indexed.count; nth++) {
      const blob = indexed.at(nth);
      if (inPack.delete(describe(blob))) continue;
      const message = `the index has ${blob.type} blob ${blob.id} in pack ${packId} otherwise than the pack's own header`;
      this.#add({ kind: 'index_entry_wrong', message });
    }
    if (inPack.size === 0) return;
    this.#add({ kind: 'index_entry_wrong', message: `${inPack.size} blobs of pack ${packId} are in no index` }, 'warning');
  }

  #addDamagedBlob({ type, id }: PackedBlob, reason: string): void {
    const message = `${type} blob ${id} in pack ${this.#pack.packId} is damaged: ${reason}`;
    this.#add({ kind: 'blob_damaged', message, blobId: id, blobType: type });
  }

  #add(finding: Omit<NewFinding, 'severity'>, severity = this.#severity): void {
    const { packId } = this.#pack;
    this.#findings.push({ ...finding, severity, objectName: packName(packId), packId });
  }
}

function endOf(blobs: PackedEntries, nth: number): number {
  return blobs.offsetAt(nth) + blobs.lengthAt(nth);
}

/** How far to read from `start` on: whole blobs up to a segment's size, or one that is longer. `behind` is the first blob after them. */
function segmentAt(blobs: PackedEntries, next: number, start: number, sizeBytes: number): { end: number; behind: number } {
  const limit = Math.min(start + segmentBytes, sizeBytes);
  let [end, behind] = [start, next];
  while (behind < blobs.count && blobs.offsetAt(behind) >= end && endOf(blobs, behind) <= limit) end = endOf(blobs, behind++);
  if (behind > next) return { end, behind };
  if (next === blobs.count) return { end: limit, behind };
  // What lies before the blob belongs to none; it counts for the hash of the pack alone.
  const offset = blobs.offsetAt(next);
  return offset > start ? { end: Math.min(limit, offset), behind } : { end: endOf(blobs, next), behind: next + 1 };
}

function describe({ id, type, offset, length, uncompressedLength = 0 }: PackedBlob): string {
  return `${type} ${id} ${offset} ${length} ${uncompressedLength}`;
}
