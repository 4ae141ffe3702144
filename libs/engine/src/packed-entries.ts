import type { ObjectId } from '@holdfast/restic-format/object-id';
import { readPackHeader, type PackedBlob } from '@holdfast/restic-format/pack';

/**
 * Entries of the index on their way to a thread, 48 bytes each, little-endian: offset u32 ‖ length u32 ‖ plain length u32 (0 when not
 * compressed) ‖ type u32 (0 data, 1 tree) ‖ id, 32 bytes. One buffer that goes over without a copy, where as many objects would be
 * cloned one by one.
 */
export const packedEntryBytes = 48;
const idOffset = 16;
const idBytes = 32;

/** Columns of the index, or of a pack's header: what there is to write of one entry. */
export interface EntryColumns {
  readonly offset: number;
  readonly length: number;
  readonly plainLength: number;
  readonly isTree: boolean;
}

export class PackedEntries {
  readonly bytes: Buffer<ArrayBuffer>;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  static allocate(count: number): PackedEntries {
    return new PackedEntries(new Uint8Array(count * packedEntryBytes));
  }

  static of(blobs: readonly PackedBlob[]): PackedEntries {
    const entries = PackedEntries.allocate(blobs.length);
    blobs.forEach(({ id, type, offset, length, uncompressedLength }, nth) => {
      entries.set(nth, { offset, length, plainLength: uncompressedLength ?? 0, isTree: type === 'tree' });
      entries.bytes.write(id, nth * packedEntryBytes + idOffset, 'hex');
    });
    return entries;
  }

  /** Those of a pack's header, see openPackHeader. */
  static ofPackHeader(header: Uint8Array): PackedEntries {
    let count = 0;
    readPackHeader(header, () => count++);
    const entries = PackedEntries.allocate(count);
    let nth = 0;
    readPackHeader(header, (offset, length, plainLength, isTree, idAt) => {
      const columns = { offset, length, plainLength: plainLength ?? 0, isTree };
      entries.set(nth++, columns, header.subarray(idAt, idAt + idBytes));
    });
    return entries;
  }

  get count(): number {
    return this.bytes.length / packedEntryBytes;
  }

  set(nth: number, { offset, length, plainLength, isTree }: EntryColumns, id?: Uint8Array): void {
    const at = nth * packedEntryBytes;
    this.bytes.writeUInt32LE(offset, at);
    this.bytes.writeUInt32LE(length, at + 4);
    this.bytes.writeUInt32LE(plainLength, at + 8);
    this.bytes.writeUInt32LE(isTree ? 1 : 0, at + 12);
    if (id !== undefined) this.bytes.set(id, at + idOffset);
  }

  offsetAt(nth: number): number {
    return this.bytes.readUInt32LE(nth * packedEntryBytes);
  }

  lengthAt(nth: number): number {
    return this.bytes.readUInt32LE(nth * packedEntryBytes + 4);
  }

  plainLengthAt(nth: number): number {
    return this.bytes.readUInt32LE(nth * packedEntryBytes + 8);
  }

  isTreeAt(nth: number): boolean {
    return this.bytes.readUInt32LE(nth * packedEntryBytes + 12) === 1;
  }

  idAt(nth: number): ObjectId {
    const at = nth * packedEntryBytes + idOffset;
    return this.bytes.toString('hex', at, at + 32);
  }

  at(nth: number): PackedBlob {
    const plainLength = this.plainLengthAt(nth);
    return {
      id: this.idAt(nth),
      type: this.isTreeAt(nth) ? 'tree' : 'data',
      offset: this.offsetAt(nth),
      length: this.lengthAt(nth),
      ...(plainLength === 0 ? {} : { uncompressedLength: plainLength }),
    };
  }

  /** The same entries in the order of their offsets. */
  sorted(): PackedEntries {
    const order = Array.from({ length: this.count }, (_, nth) => nth);
    if (order.every((nth) => nth === 0 || this.offsetAt(nth - 1) <= this.offsetAt(nth))) return this;
    order.sort((a, b) => this.offsetAt(a) - this.offsetAt(b));
    const sorted = PackedEntries.allocate(this.count);
    order.forEach((from, to) => {
      sorted.bytes.set(this.bytes.subarray(from * packedEntryBytes, (from + 1) * packedEntryBytes), to * packedEntryBytes);
    });
    return sorted;
  }

  /** Whether the entry has the id that stands in 32 bytes of `ids` from `position` on. */
  hasIdAt(nth: number, ids: Uint8Array, position: number): boolean {
    const at = nth * packedEntryBytes + idOffset;
    for (let byte = 0; byte < idBytes; byte++) if (this.bytes[at + byte] !== ids[position + byte]) return false;
    return true;
  }

  /** Whether both say the same of the same blobs in the same order. */
  equals(other: PackedEntries): boolean {
    return this.bytes.equals(other.bytes);
  }
}
