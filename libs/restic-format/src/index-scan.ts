import { objectIdBytes, type ObjectId } from './object-id.ts';

/**
 * The content of an index file in columns: one entry a blob, in the order of the file. Much smaller than objects with ids as text, of
 * which an index of millions of blobs would need gigabytes for a moment.
 */
export interface IndexColumns {
  readonly packIds: readonly ObjectId[];
  /** For each pack the entry that is its first; its last is the one before the next pack's first. One more at the end. */
  readonly packStarts: readonly number[];
  readonly ids: Uint8Array;
  readonly isTree: Uint8Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  /** 0 for a blob that is not compressed. */
  readonly plainLengths: Uint32Array;
}

/** An entry takes this much text at the least. */
const leastEntryBytes = 105;
const maxUint32 = 2 ** 32 - 1;
const idDigits = objectIdBytes * 2;

const text = (words: string): Uint8Array => Buffer.from(words);
const [begin, packBegin, packMiddle] = [text('{"packs":['), text('{"id":"'), text('","blobs":[')];
const [blobBegin, dataType, treeType] = [text('{"id":"'), text('","type":"data","offset":'), text('","type":"tree","offset":')];
const [lengthField, plainField, listEnd, end] = [text(',"length":'), text(',"uncompressed_length":'), text(']}'), text(']}')];
const [comma, closeBrace, closeBracket, newline, zero, nine] = [0x2c, 0x7d, 0x5d, 0x0a, 0x30, 0x39];

const notHex = 255;
const hexValues = new Uint8Array(256).fill(notHex);
for (let value = 0; value < 16; value++) hexValues[value.toString(16).charCodeAt(0)] = value;

/**
 * Reads the JSON of an index file if it is written exactly as restic and we write it: these fields in this order, and no space. Null for
 * any other text, valid or not: parse that.
 */
export function scanIndex(json: Uint8Array): IndexColumns | null {
  const scan = new Scan(json);
  return scan.run() ? scan.columns() : null;
}

class Scan {
  readonly #json: Uint8Array;
  #at = 0;
  #count = 0;
  readonly #packIds: ObjectId[] = [];
  readonly #packStarts: number[] = [];
  readonly #ids: Uint8Array;
  readonly #isTree: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #plainLengths: Uint32Array;

  constructor(json: Uint8Array) {
    this.#json = json;
    const room = Math.ceil(json.length / leastEntryBytes);
    this.#ids = new Uint8Array(room * objectIdBytes);
    this.#isTree = new Uint8Array(room);
    this.#offsets = new Uint32Array(room);
    this.#lengths = new Uint32Array(room);
    this.#plainLengths = new Uint32Array(room);
  }

  run(): boolean {
    if (!this.#take(begin)) return false;
    if (this.#json[this.#at] !== closeBracket) {
      do if (!this.#takePack()) return false;
      while (this.#takeByte(comma));
    }
    if (!this.#take(end)) return false;
    this.#takeByte(newline);
    return this.#at === this.#json.length;
  }

  columns(): IndexColumns {
    return {
      packIds: this.#packIds,
      packStarts: [...this.#packStarts, this.#count],
      ids: this.#ids,
      isTree: this.#isTree,
      offsets: this.#offsets,
      lengths: this.#lengths,
      plainLengths: this.#plainLengths,
    };
  }

  #takePack(): boolean {
    if (!this.#take(packBegin)) return false;
    for (let digit = 0; digit < idDigits; digit++) if (hexValues[this.#json[this.#at + digit] ?? 0] === notHex) return false;
    this.#packIds.push(Buffer.from(this.#json.buffer, this.#json.byteOffset + this.#at, idDigits).toString('latin1'));
    this.#packStarts.push(this.#count);
    this.#at += idDigits;
    if (!this.#take(packMiddle)) return false;
    if (this.#json[this.#at] !== closeBracket) {
      do if (!this.#takeBlob()) return false;
      while (this.#takeByte(comma));
    }
    return this.#take(listEnd);
  }

  #takeBlob(): boolean {
    if (!this.#take(blobBegin) || !this.#takeId()) return false;
    if (this.#take(treeType)) this.#isTree[this.#count] = 1;
    else if (!this.#take(dataType)) return false;
    const offset = this.#takeNumber();
    const length = this.#take(lengthField) ? this.#takeNumber() : -1;
    const plainLength = this.#take(plainField) ? this.#takeNumber() : 0;
    if (offset === -1 || length === -1 || plainLength === -1 || !this.#takeByte(closeBrace)) return false;
    this.#offsets[this.#count] = offset;
    this.#lengths[this.#count] = length;
    this.#plainLengths[this.#count] = plainLength;
    this.#count++;
    return true;
  }

  #takeId(): boolean {
    const start = this.#count * objectIdBytes;
    for (let byte = 0; byte < objectIdBytes; byte++) {
      const high = hexValues[this.#json[this.#at] ?? 0] ?? notHex;
      const low = hexValues[this.#json[this.#at + 1] ?? 0] ?? notHex;
      if (high === notHex || low === notHex) return false;
      this.#ids[start + byte] = (high << 4) | low;
      this.#at += 2;
    }
    return true;
  }

  /** -1 when there is none that fits 32 bits. */
  #takeNumber(): number {
    const start = this.#at;
    let value = 0;
    for (let digit = this.#json[this.#at] ?? 0; digit >= zero && digit <= nine; digit = this.#json[++this.#at] ?? 0) {
      value = value * 10 + (digit - zero);
      if (value > maxUint32) return -1;
    }
    const digits = this.#at - start;
    return digits === 0 || (digits > 1 && this.#json[start] === zero) ? -1 : value;
  }

  #take(words: Uint8Array): boolean {
    for (let nth = 0; nth < words.length; nth++) if (this.#json[this.#at + nth] !== words[nth]) return false;
    this.#at += words.length;
    return true;
  }

  #takeByte(byte: number): boolean {
    if (this.#json[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }
}
