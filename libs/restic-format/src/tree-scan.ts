import { objectIdBytes } from './object-id.ts';

/**
 * Where a tree's text has the ids that it points to: each is the position of 64 hexadecimal digits. Ten times as fast as reading all
 * that the nodes say, for whoever needs only this.
 */
export interface TreeIdPositions {
  /** Of trees. */
  readonly subtrees: readonly number[];
  /** Of data blobs, in order, those of one file after those of the one before. */
  readonly blobs: readonly number[];
}

const ascii = (words: string): Uint8Array => Buffer.from(words);
const [begin, end, nodeBegin] = [ascii('{"nodes":['), ascii(']}'), ascii('{"name":"')];
const types = [ascii('","type":"file"'), ascii('","type":"dir"'), ascii('","type":"symlink"')];
const [modeField, ownerField, groupIdField] = [ascii(',"mode":'), ascii(',"uid":'), ascii(',"gid":')];
const timeFields = [ascii(',"mtime":"'), ascii(',"atime":"'), ascii(',"ctime":"')];
const textFields = [ascii(',"user":"'), ascii(',"group":"')];
/** With the digits that they may have: the size is a double, the others have 64 bits. */
const numberFields = [
  [ascii(',"inode":'), 19],
  [ascii(',"device_id":'), 19],
  [ascii(',"size":'), 15],
  [ascii(',"links":'), 19],
] as const;
const [linkTargetField, contentField, noContent, subtreeField] = [
  ascii(',"linktarget":"'),
  ascii(',"content":'),
  ascii('null'),
  ascii(',"subtree":"'),
];
const [quote, backslash, comma, dot, slash, zero, nine] = [0x22, 0x5c, 0x2c, 0x2e, 0x2f, 0x30, 0x39];
const [openBracket, closeBracket, closeBrace, newline, plus, minus, upperZ] = [0x5b, 0x5d, 0x7d, 0x0a, 0x2b, 0x2d, 0x5a];
const [firstPrintable, lastPrintable] = [0x20, 0x7e];
const idDigits = objectIdBytes * 2;
const maxUint32 = 2 ** 32 - 1;
const maxUint32Digits = 10;
const maxFractionDigits = 9;
const maxZoneHours = 14;
const monthLengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Looks through a tree that is written exactly as restic and we write it, of plain names and without the rarer fields. Null for any other
 * text, valid or not: decodeTree it then, which takes all that this takes.
 */
export function scanTreeIds(json: Uint8Array): TreeIdPositions | null {
  const scan = new Scan(json);
  return scan.run() ? scan : null;
}

class Scan implements TreeIdPositions {
  readonly subtrees: number[] = [];
  readonly blobs: number[] = [];
  readonly #json: Uint8Array;
  #at = 0;

  constructor(json: Uint8Array) {
    this.#json = json;
  }

  run(): boolean {
    if (!this.#take(begin)) return false;
    if (this.#json[this.#at] !== closeBracket) {
      do if (!this.#takeNode()) return false;
      while (this.#takeByte(comma));
    }
    if (!this.#take(end)) return false;
    this.#takeByte(newline);
    return this.#at === this.#json.length;
  }

  #takeNode(): boolean {
    if (!this.#take(nodeBegin) || !this.#takeName() || !types.some((type) => this.#take(type))) return false;
    if (this.#take(modeField) && !this.#takeNumber(maxUint32Digits, maxUint32)) return false;
    for (const field of timeFields) if (!this.#take(field) || !this.#takeTime()) return false;
    if (!this.#take(ownerField) || !this.#takeNumber(maxUint32Digits, maxUint32)) return false;
    if (!this.#take(groupIdField) || !this.#takeNumber(maxUint32Digits, maxUint32)) return false;
    for (const field of textFields) if (this.#take(field) && !this.#takeText()) return false;
    for (const [field, maxDigits] of numberFields) if (this.#take(field) && !this.#takeNumber(maxDigits)) return false;
    if (this.#take(linkTargetField) && !this.#takeText()) return false;
    if (!this.#take(contentField) || !this.#takeContent()) return false;
    if (this.#take(subtreeField) && !this.#takeId(this.subtrees)) return false;
    return this.#takeByte(closeBrace);
  }

  /** Up to the quote behind it. */
  #takeName(): boolean {
    const start = this.#at;
    if (!this.#skipText(slash)) return false;
    const length = this.#at - start;
    const isDots = length <= 2 && this.#json[start] === dot && (length === 1 || this.#json[start + 1] === dot);
    return length > 0 && !isDots;
  }

  #takeText(): boolean {
    return this.#skipText(backslash) && this.#takeByte(quote);
  }

  /** To the next quote; false when there is a character before it that is `refused`, escaped or not of plain ASCII. */
  #skipText(refused: number): boolean {
    const json = this.#json;
    let at = this.#at;
    for (let byte = json[at] ?? 0; byte !== quote; byte = json[++at] ?? 0) {
      if (byte < firstPrintable || byte > lastPrintable || byte === backslash || byte === refused) return false;
    }
    this.#at = at;
    return true;
  }

  #takeContent(): boolean {
    if (this.#take(noContent)) return true;
    if (!this.#takeByte(openBracket)) return false;
    if (this.#takeByte(closeBracket)) return true;
    do if (!this.#takeByte(quote) || !this.#takeId(this.blobs)) return false;
    while (this.#takeByte(comma));
    return this.#takeByte(closeBracket);
  }

  /** An id and the quote behind it. */
  #takeId(positions: number[]): boolean {
    const json = this.#json;
    const start = this.#at;
    for (let at = start; at < start + idDigits; at++) if (hexValueOf(json[at] ?? 0) === notHex) return false;
    positions.push(start);
    this.#at = start + idDigits;
    return this.#takeByte(quote);
  }

  #takeNumber(maxDigits: number, max = Number.POSITIVE_INFINITY): boolean {
    const start = this.#at;
    let value = 0;
    for (let byte = this.#json[start] ?? 0; byte >= zero && byte <= nine; byte = this.#json[++this.#at] ?? 0) {
      value = value * 10 + (byte - zero);
    }
    const digits = this.#at - start;
    return digits > 0 && digits <= maxDigits && value <= max && (digits === 1 || this.#json[start] !== zero);
  }

  /** A time and the quote behind it, as decodeTimestamp takes it. */
  #takeTime(): boolean {
    const [json, at] = [this.#json, this.#at];
    const year = this.#twoDigitsAt(at) * 100 + this.#twoDigitsAt(at + 2);
    const [month, day] = [this.#twoDigitsAt(at + 5), this.#twoDigitsAt(at + 8)];
    // NaN is not below any limit.
    const isDate = json[at + 4] === minus && json[at + 7] === minus && json[at + 10] === 0x54 && year >= 100 && day >= 1;
    const isTime = json[at + 13] === 0x3a && json[at + 16] === 0x3a && this.#twoDigitsAt(at + 11) < 24;
    if (!isDate || !isTime || !(this.#twoDigitsAt(at + 14) < 60) || !(this.#twoDigitsAt(at + 17) < 60)) return false;
    const isLeapDay = month === 2 && day === 29 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
    if (!(day <= (monthLengths[month - 1] ?? 0)) && !isLeapDay) return false;
    this.#at = at + 19;
    if (this.#takeByte(dot)) {
      const first = this.#at;
      for (let byte = json[first] ?? 0; byte >= zero && byte <= nine; byte = json[++this.#at] ?? 0);
      if (this.#at === first || this.#at - first > maxFractionDigits) return false;
    }
    return this.#takeZone() && this.#takeByte(quote);
  }

  #takeZone(): boolean {
    if (this.#takeByte(upperZ)) return true;
    if (!this.#takeByte(plus) && !this.#takeByte(minus)) return false;
    const at = this.#at;
    this.#at += 5;
    return this.#twoDigitsAt(at) < maxZoneHours && this.#json[at + 2] === 0x3a && this.#twoDigitsAt(at + 3) < 60;
  }

  /** NaN when they are none. */
  #twoDigitsAt(at: number): number {
    const [tens, ones] = [(this.#json[at] ?? 0) - zero, (this.#json[at + 1] ?? 0) - zero];
    return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
  }

  #take(words: Uint8Array): boolean {
    const [json, at] = [this.#json, this.#at];
    for (let nth = 0; nth < words.length; nth++) if (json[at + nth] !== words[nth]) return false;
    this.#at = at + words.length;
    return true;
  }

  #takeByte(byte: number): boolean {
    if (this.#json[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }
}

const notHex = 255;
/** Of '0' to '9' and 'a' to 'f' alone. */
const hexValues = new Uint8Array(256).fill(notHex);
for (let value = 0; value < 16; value++) hexValues[value.toString(16).charCodeAt(0)] = value;

const hexValueOf = (byte: number): number => hexValues[byte] ?? notHex;

/** Writes the id whose 64 digits begin at `position` of `json` to `to`, 32 bytes from `at` on. */
export function copyIdAt(json: Uint8Array, position: number, to: Uint8Array, at: number): void {
  for (let byte = 0; byte < objectIdBytes; byte++) {
    const digits = position + byte * 2;
    to[at + byte] = (hexValueOf(json[digits] ?? 0) << 4) | hexValueOf(json[digits + 1] ?? 0);
  }
}
