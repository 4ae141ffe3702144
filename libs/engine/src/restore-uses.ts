import { bytesOfName, nameOfBytes } from '@holdfast/restic-format/file-name';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { TargetNode } from '@holdfast/sources/target';

/**
 * What is to become of the blobs of one pack, on its way to the thread that does it: a use is a blob and a file that it goes into.
 * In one buffer, some 100 bytes a small file, because a recovery of a million files plans them all before it reads a pack.
 * Little-endian: blob offset u32 ‖ length u32 ‖ plain length u32 ‖ id, 32 bytes ‖ kind u8, and by kind:
 * part: file number u32 ‖ descriptor u32 ‖ position f64
 * whole and empty: folder number u32 ‖ mode u32 ‖ uid u32 ‖ gid u32 ‖ accessed, modified i64 ‖ size f64 ‖ name, attributes (u32 and bytes each)
 */
export type BlobUse = WholeFileUse | FilePartUse;

interface UsedPlace {
  readonly offset: number;
  readonly length: number;
  /** 0 when it is not compressed. */
  readonly plainLength: number;
}

interface UsedBlob extends UsedPlace {
  readonly id: ObjectId;
}

/** The blob is all of the file; or, with no blob, the file is empty. */
export interface WholeFileUse extends UsedBlob {
  readonly kind: 'whole' | 'empty';
  readonly folder: number;
  readonly node: TargetNode;
}

/** A part of a file that is open already. */
export interface FilePartUse extends UsedBlob {
  readonly kind: 'part';
  readonly fileNumber: number;
  readonly descriptor: number;
  readonly positionBytes: number;
}

export type FilePart = Pick<FilePartUse, 'fileNumber' | 'descriptor' | 'positionBytes'>;

const kinds = ['whole', 'empty', 'part'] as const;
const idBytes = 32;
const headBytes = 12 + idBytes + 1;
const partBytes = 16;
const wholeBytes = 40 + 8;
const firstCapacityBytes = 4096;
const noBlob: UsedPlace = { offset: 0, length: 0, plainLength: 0 };

export class BlobUseWriter {
  #buffer = Buffer.alloc(firstCapacityBytes);
  #length = 0;

  get sizeBytes(): number {
    return this.#length;
  }

  addPart(place: UsedPlace, id: ObjectId, { fileNumber, descriptor, positionBytes }: FilePart): void {
    this.#addHead(place, id, 'part', partBytes);
    this.#uint32(fileNumber);
    this.#uint32(descriptor);
    this.#length = this.#buffer.writeDoubleLE(positionBytes, this.#length);
  }

  addWhole(place: UsedPlace, id: ObjectId, folder: number, node: TargetNode): void {
    this.#addNode(place, id, 'whole', folder, node);
  }

  addEmpty(folder: number, node: TargetNode): void {
    this.#addNode(noBlob, '', 'empty', folder, node);
  }

  add(use: BlobUse): void {
    if (use.kind === 'part') this.addPart(use, use.id, use);
    else this.#addNode(use, use.id, use.kind, use.folder, use.node);
  }

  /** All uses so far, to be handed over. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length);
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
    return bytes;
  }

  #addNode(place: UsedPlace, id: ObjectId, kind: 'whole' | 'empty', folder: number, node: TargetNode): void {
    const attributes = node.extendedAttributes === undefined ? '' : encodeAttributes(node.extendedAttributes);
    // A UTF-16 unit is three bytes of UTF-8 at most.
    this.#addHead(place, id, kind, wholeBytes + node.name.length * 3 + attributes.length);
    this.#uint32(folder);
    this.#uint32(node.mode);
    this.#uint32(node.uid);
    this.#uint32(node.gid);
    this.#length = this.#buffer.writeBigInt64LE(BigInt.asIntN(64, node.accessedNs), this.#length);
    this.#length = this.#buffer.writeBigInt64LE(BigInt.asIntN(64, node.modifiedNs), this.#length);
    this.#length = this.#buffer.writeDoubleLE(node.sizeBytes, this.#length);
    this.#text(node.name);
    this.#text(attributes);
  }

  #addHead(place: UsedPlace, id: ObjectId, kind: BlobUse['kind'], moreBytes: number): void {
    this.#reserve(headBytes + moreBytes);
    this.#uint32(place.offset);
    this.#uint32(place.length);
    this.#uint32(place.plainLength);
    this.#buffer.write(id, this.#length, 'hex');
    this.#length = this.#buffer.writeUInt8(kinds.indexOf(kind), this.#length + idBytes);
  }

  #uint32(value: number): void {
    this.#length = this.#buffer.writeUInt32LE(value, this.#length);
  }

  #text(text: string): void {
    let lengthBytes: number;
    if (text.isWellFormed()) lengthBytes = this.#buffer.write(text, this.#length + 4);
    else {
      const bytes = bytesOfName(text);
      this.#buffer.set(bytes, this.#length + 4);
      lengthBytes = bytes.length;
    }
    this.#uint32(lengthBytes);
    this.#length += lengthBytes;
  }

  #reserve(sizeBytes: number): void {
    if (this.#length + sizeBytes <= this.#buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#length + sizeBytes, firstCapacityBytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

/** The uses in the order of their blobs; those of one blob follow each other. */
export function readBlobUses(bytes: Uint8Array): BlobUse[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const uses: BlobUse[] = [];
  for (let at = 0; at < buffer.length;) {
    const blob = {
      offset: buffer.readUInt32LE(at),
      length: buffer.readUInt32LE(at + 4),
      plainLength: buffer.readUInt32LE(at + 8),
      id: buffer.toString('hex', at + 12, at + 12 + idBytes),
    };
    const kind = kinds[buffer.readUInt8(at + headBytes - 1)] ?? 'whole';
    at += headBytes;
    if (kind === 'part') {
      const [fileNumber, descriptor] = [buffer.readUInt32LE(at), buffer.readUInt32LE(at + 4)];
      uses.push({ ...blob, kind, fileNumber, descriptor, positionBytes: buffer.readDoubleLE(at + 8) });
      at += partBytes;
      continue;
    }
    const nameAt = at + 44;
    const nameEnd = nameAt + buffer.readUInt32LE(nameAt - 4);
    const end = nameEnd + 4 + buffer.readUInt32LE(nameEnd);
    const node: TargetNode = {
      name: readName(buffer, nameAt, nameEnd),
      type: 'file',
      mode: buffer.readUInt32LE(at + 4),
      uid: buffer.readUInt32LE(at + 8),
      gid: buffer.readUInt32LE(at + 12),
      accessedNs: buffer.readBigInt64LE(at + 16),
      modifiedNs: buffer.readBigInt64LE(at + 24),
      sizeBytes: buffer.readDoubleLE(at + 32),
      ...(end === nameEnd + 4 ? {} : { extendedAttributes: decodeAttributes(buffer.toString('latin1', nameEnd + 4, end)) }),
    };
    uses.push({ ...blob, kind, folder: buffer.readUInt32LE(at), node });
    at = end;
  }
  const isSorted = uses.every((use, nth) => nth === 0 || (uses[nth - 1]?.offset ?? 0) <= use.offset);
  return isSorted ? uses : uses.toSorted((a, b) => a.offset - b.offset);
}

function readName(buffer: Buffer, start: number, end: number): string {
  const text = buffer.toString('utf8', start, end);
  // What stands in for bytes that are no UTF-8, or is the name's own.
  return text.includes('\ufffd') ? nameOfBytes(buffer.subarray(start, end)) : text;
}

function encodeAttributes(attributes: ReadonlyMap<string, Uint8Array>): string {
  const pairs = [...attributes].map(([name, value]) => [Buffer.from(name).toString('base64'), Buffer.from(value).toString('base64')]);
  return pairs.map((pair) => pair.join(' ')).join('\n');
}

function decodeAttributes(text: string): Map<string, Uint8Array> {
  return new Map(
    text.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(' ').map((part) => Buffer.from(part, 'base64'));
      return [name.toString(), Buffer.from(value)];
    }),
  );
}
