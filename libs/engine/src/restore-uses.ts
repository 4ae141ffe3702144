import { bytesOfName, nameOfBytes } from '@holdfast/restic-format/file-name';
import { objectIdBytes, type ObjectId } from '@holdfast/restic-format/object-id';
import type { PlainFile } from '@holdfast/restic-format/plain-files';
import type { NewFile, TargetNode } from '@holdfast/sources/target';
import type { BlobPlace } from './blob-index.ts';
import type { SealedBlob } from './stretch-unpacker.ts';

/**
 * What is to become of the blobs of one pack, on its way to the thread that does it: a use is a blob and a file that it goes into.
 * In one buffer, some 140 bytes a small file, because a recovery of a million files plans them all before it reads a pack.
 * Little-endian, each use a multiple of 8 bytes: blob offset u32 ‖ length u32 ‖ plain length u32 ‖ kind u32 ‖ id, 32 bytes ‖ and by kind:
 * part: bytes of the use u32 ‖ file number u32 ‖ descriptor u32 ‖ 4 bytes ‖ position f64
 * whole and empty: bytes of the use u32 ‖ folder number u32 ‖ mode u32 ‖ uid u32 ‖ gid u32 ‖ bytes of the name u32 ‖ of the attributes u32 ‖
 * accessed, modified ns u32 ‖ 4 bytes ‖ accessed, modified s f64 ‖ size f64 ‖ name ‖ attributes
 */
export type UseKind = 'whole' | 'empty' | 'part';

/** A part of a file that is open already. */
export interface FilePart {
  readonly fileNumber: number;
  readonly descriptor: number;
  readonly positionBytes: number;
}

type UsedPlace = Pick<BlobPlace, 'offset' | 'length' | 'plainLength'>;

const kinds = ['whole', 'empty', 'part'] as const;
const [wholeKind, emptyKind, partKind] = [0, 1, 2];
const wordBytes = Uint32Array.BYTES_PER_ELEMENT;
/** Where the words of a use are, counted from its beginning, and its doubles. */
const idAt = 4;
const sizeAt = idAt + objectIdBytes / wordBytes;
const [fileNumberAt, descriptorAt, positionDouble] = [sizeAt + 1, sizeAt + 2, 8];
const [folderAt, modeAt, uidAt, gidAt, nameBytesAt, attributesBytesAt] = [13, 14, 15, 16, 17, 18];
const [accessedNsAt, modifiedNsAt, accessedDouble, modifiedDouble, sizeDouble, nameAtBytes] = [19, 20, 11, 12, 13, 112];
const partBytes = 72;
const firstCapacityBytes = 4096;
const noBlob: UsedPlace = { offset: 0, length: 0, plainLength: 0 };
/** Making a file costs as much as writing these. */
const fileWorkBytes = 12 * 1024;
const nsPerSecond = 1_000_000_000n;

export class BlobUseWriter {
  #bytes = Buffer.alloc(0);
  #words = new Uint32Array(0);
  #doubles = new Float64Array(0);
  #length = 0;
  /** What the uses cost, as bytes that are unpacked and written. */
  workBytes = 0;

  get sizeBytes(): number {
    return this.#length;
  }

  addPart(place: UsedPlace, id: ObjectId, { fileNumber, descriptor, positionBytes }: FilePart): void {
    const word = this.#begin(place, partKind, partBytes);
    this.#bytes.write(id, (word + idAt) * wordBytes, 'hex');
    this.#words[word + fileNumberAt] = fileNumber;
    this.#words[word + descriptorAt] = descriptor;
    this.#doubles[word / 2 + positionDouble] = positionBytes;
  }

  addWhole(place: UsedPlace, id: ObjectId, folder: number, node: TargetNode): void {
    const word = this.#addNode(place, wholeKind, folder, node);
    this.#bytes.write(id, (word + idAt) * wordBytes, 'hex');
  }

  addEmpty(folder: number, node: TargetNode): void {
    this.#addNode(noBlob, emptyKind, folder, node);
  }

  /** A file as it was found in the `text` of its tree, with the id of its blob at `idStart` of `ids`. */
  addPlain(place: UsedPlace, ids: Uint8Array, folder: number, file: PlainFile, text: Uint8Array): void {
    const { nameStart, nameEnd, idStart } = file;
    const word = this.#begin(place, wholeKind, nameAtBytes + nameEnd - nameStart);
    this.#setId(word, ids, idStart);
    this.#setPlain(word, folder, file, text);
  }

  addPlainEmpty(folder: number, file: PlainFile, text: Uint8Array): void {
    this.#setPlain(this.#begin(noBlob, emptyKind, nameAtBytes + file.nameEnd - file.nameStart), folder, file, text);
  }

  /** A use out of another buffer. */
  add(use: BlobUse): void {
    const start = this.#length;
    this.#reserve(use.bytes.length);
    this.#bytes.set(use.bytes, start);
    this.#length += use.bytes.length;
  }

  /** All uses so far, to be handed over. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset, this.#length);
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return bytes;
  }

  #addNode(place: UsedPlace, kind: number, folder: number, node: TargetNode): number {
    const name = bytesOfName(node.name);
    const attributes = node.extendedAttributes === undefined ? '' : encodeAttributes(node.extendedAttributes);
    const word = this.#begin(place, kind, nameAtBytes + name.length + attributes.length);
    const [accessed, modified] = [splitTime(node.accessedNs), splitTime(node.modifiedNs)];
    const times = {
      accessedSeconds: accessed.seconds,
      accessedNs: accessed.ns,
      modifiedSeconds: modified.seconds,
      modifiedNs: modified.ns,
    };
    this.#setFile(word, folder, { ...node, ...times }, name.length);
    this.#words[word + attributesBytesAt] = attributes.length;
    const nameAt = word * wordBytes + nameAtBytes;
    this.#bytes.set(name, nameAt);
    this.#bytes.write(attributes, nameAt + name.length, 'latin1');
    return word;
  }

  #setPlain(word: number, folder: number, file: PlainFile, text: Uint8Array): void {
    const { nameStart, nameEnd } = file;
    this.#setFile(word, folder, file, nameEnd - nameStart);
    const nameAt = word * wordBytes + nameAtBytes - nameStart;
    // Names are too short for a call that copies them.
    for (let at = nameStart; at < nameEnd; at++) this.#bytes[nameAt + at] = text[at] ?? 0;
  }

  #setFile(word: number, folder: number, file: Omit<NewFile, 'name'>, nameBytes: number): void {
    const words = this.#words;
    words[word + folderAt] = folder;
    words[word + modeAt] = file.mode;
    words[word + uidAt] = file.uid;
    words[word + gidAt] = file.gid;
    words[word + nameBytesAt] = nameBytes;
    words[word + accessedNsAt] = file.accessedNs;
    words[word + modifiedNsAt] = file.modifiedNs;
    const doubles = this.#doubles;
    doubles[word / 2 + accessedDouble] = file.accessedSeconds;
    doubles[word / 2 + modifiedDouble] = file.modifiedSeconds;
    doubles[word / 2 + sizeDouble] = file.sizeBytes;
  }

  #setId(word: number, ids: Uint8Array, idStart: number): void {
    const at = (word + idAt) * wordBytes - idStart;
    for (let nth = idStart; nth < idStart + objectIdBytes; nth++) this.#bytes[at + nth] = ids[nth] ?? 0;
  }

  /** Makes room for a use and gives its first word. What is not set is 0. */
  #begin({ offset, length, plainLength }: UsedPlace, kind: number, sizeBytes: number): number {
    const useBytes = Math.ceil(sizeBytes / 8) * 8;
    this.#reserve(useBytes);
    const word = this.#length / wordBytes;
    const words = this.#words;
    words[word] = offset;
    words[word + 1] = length;
    words[word + 2] = plainLength;
    words[word + 3] = kind;
    words[word + sizeAt] = useBytes;
    this.#length += useBytes;
    this.workBytes += Math.max(length, plainLength) + fileWorkBytes;
    return word;
  }

  #reserve(sizeBytes: number): void {
    if (this.#length + sizeBytes <= this.#bytes.length) return;
    const neededBytes = Math.ceil((this.#length + sizeBytes) / 8) * 8;
    const larger = Buffer.from(new ArrayBuffer(Math.max(this.#bytes.length * 2, neededBytes, firstCapacityBytes)));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#words = new Uint32Array(larger.buffer);
    this.#doubles = new Float64Array(larger.buffer);
  }
}

/** The views of the buffer that the uses of a pack are in. */
interface Views {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
}

/** One use, read where it lies. */
export class BlobUse implements NewFile, SealedBlob {
  readonly #views: Views;
  readonly #word: number;

  constructor(views: Views, word: number) {
    this.#views = views;
    this.#word = word;
  }

  get kind(): UseKind {
    return kinds[this.#wordAt(3)] ?? 'whole';
  }
  get offset(): number {
    return this.#wordAt(0);
  }
  get length(): number {
    return this.#wordAt(1);
  }
  /** 0 when it is not compressed. */
  get plainLength(): number {
    return this.#wordAt(2);
  }
  get id(): ObjectId {
    const start = (this.#word + idAt) * wordBytes;
    return this.#views.bytes.toString('hex', start, start + objectIdBytes);
  }
  hasId(digests: Uint8Array, at: number): boolean {
    const { bytes } = this.#views;
    const start = (this.#word + idAt) * wordBytes;
    for (let nth = 0; nth < objectIdBytes; nth++) if (bytes[start + nth] !== digests[at + nth]) return false;
    return true;
  }
  get bytes(): Uint8Array {
    const start = this.#word * wordBytes;
    return this.#views.bytes.subarray(start, start + this.#wordAt(sizeAt));
  }

  // Of a part.
  get fileNumber(): number {
    return this.#wordAt(fileNumberAt);
  }
  get descriptor(): number {
    return this.#wordAt(descriptorAt);
  }
  get positionBytes(): number {
    return this.#doubleAt(positionDouble);
  }

  // Of a whole or an empty file.
  get folder(): number {
    return this.#wordAt(folderAt);
  }
  get mode(): number {
    return this.#wordAt(modeAt);
  }
  get uid(): number {
    return this.#wordAt(uidAt);
  }
  get gid(): number {
    return this.#wordAt(gidAt);
  }
  get accessedSeconds(): number {
    return this.#doubleAt(accessedDouble);
  }
  get accessedNs(): number {
    return this.#wordAt(accessedNsAt);
  }
  get modifiedSeconds(): number {
    return this.#doubleAt(modifiedDouble);
  }
  get modifiedNs(): number {
    return this.#wordAt(modifiedNsAt);
  }
  get sizeBytes(): number {
    return this.#doubleAt(sizeDouble);
  }
  get name(): string {
    const start = this.#word * wordBytes + nameAtBytes;
    const end = start + this.#wordAt(nameBytesAt);
    const text = this.#views.bytes.toString('utf8', start, end);
    // What stands in for bytes that are no UTF-8, or is the name's own.
    return text.includes('\ufffd') ? nameOfBytes(this.#views.bytes.subarray(start, end)) : text;
  }
  get extendedAttributes(): ReadonlyMap<string, Uint8Array> | undefined {
    const lengthBytes = this.#wordAt(attributesBytesAt);
    if (lengthBytes === 0) return undefined;
    const start = this.#word * wordBytes + nameAtBytes + this.#wordAt(nameBytesAt);
    return decodeAttributes(this.#views.bytes.toString('latin1', start, start + lengthBytes));
  }

  #wordAt(nth: number): number {
    return this.#views.words[this.#word + nth] ?? 0;
  }

  #doubleAt(nth: number): number {
    return this.#views.doubles[this.#word / 2 + nth] ?? 0;
  }
}

/** The uses in the order of their blobs; those of one blob follow each other. `bytes` begin where their buffer does. */
export function readBlobUses(bytes: Uint8Array<ArrayBuffer>): BlobUse[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [wordCount, doubleCount] = [bytes.byteLength / wordBytes, bytes.byteLength / 8];
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, wordCount);
  const views = { bytes: buffer, words, doubles: new Float64Array(bytes.buffer, bytes.byteOffset, doubleCount) };
  const uses: BlobUse[] = [];
  let isSorted = true;
  let lastOffset = 0;
  for (let word = 0; word < wordCount; word += Math.max(words[word + sizeAt] ?? 0, wordBytes) / wordBytes) {
    uses.push(new BlobUse(views, word));
    const offset = words[word] ?? 0;
    isSorted &&= offset >= lastOffset;
    lastOffset = offset;
  }
  return isSorted ? uses : uses.toSorted((a, b) => a.offset - b.offset);
}

/** Seconds, and the nanoseconds that are left, 0 or more. */
function splitTime(time: bigint): { seconds: number; ns: number } {
  const seconds = time / nsPerSecond;
  const ns = Number(time % nsPerSecond);
  return ns < 0 ? { seconds: Number(seconds) - 1, ns: ns + Number(nsPerSecond) } : { seconds: Number(seconds), ns };
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
