import { decodeTimestamp } from './timestamp.ts';

/**
 * Reads JSON from left to right where it is known what comes. Each `take` goes on behind what it has found and tells whether it was there;
 * where it was not, `at` is anywhere, but for `take` and `takeByte`, which stay where they were. Nothing is allocated.
 */
export class TextScan {
  at = 0;
  /** Of the last takeTime: seconds since 1970, and the nanoseconds that are left, 0 or more. */
  seconds = 0;
  ns = 0;
  readonly #bytes: Uint8Array;

  /** `bytes` is valid UTF-8. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(words: Uint8Array): boolean {
    const bytes = this.#bytes;
    const start = this.at;
    for (let nth = 0; nth < words.length; nth++) if (bytes[start + nth] !== words[nth]) return false;
    this.at = start + words.length;
    return true;
  }

  takeByte(byte: number): boolean {
    if (this.#bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  /** On behind the quote that ends the string; false when it holds an escape, or what would have to be one. */
  skipString(): boolean {
    const bytes = this.#bytes;
    for (let at = this.at; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === quote) {
        this.at = at + 1;
        return true;
      }
      if (byte === backslash || byte < space) return false;
    }
    return false;
  }

  /** A whole number without sign, up to `max`; -1 when there is none. */
  number(max: number): number {
    const start = this.at;
    if (!this.#skipDigits() || this.at - start > maxExactDigits) return -1;
    let value = 0;
    for (let at = start; at < this.at; at++) value = value * 10 + this.#digit(at);
    return value <= max ? value : -1;
  }

  /** A whole number without sign that certainly fits into 64 bits. */
  skipLongNumber(): boolean {
    const start = this.at;
    return this.#skipDigits() && this.at - start <= maxLongDigits;
  }

  /** A time as timestamp.ts has it, and the quote behind it. */
  takeTime(): boolean {
    const start = this.at;
    const bytes = this.#bytes;
    const dayStart = this.#dayStart();
    const isClock = bytes[start + 10] === 0x54 && bytes[start + 13] === 0x3a && bytes[start + 16] === 0x3a;
    const [hours, minutes, seconds] = [this.#twoDigits(start + 11), this.#twoDigits(start + 14), this.#twoDigits(start + 17)];
    if (!isClock || !(hours < 24 && minutes < 60 && seconds < 60) || Number.isNaN(dayStart)) return false;
    this.at = start + 19;
    if (!this.#takeFraction()) return false;
    const zoneMinutes = this.#takeZone();
    this.seconds = dayStart + hours * 3600 + minutes * 60 + seconds - zoneMinutes * 60;
    return !Number.isNaN(zoneMinutes) && this.takeByte(quote);
  }

  /** Hexadecimal digits in lower case, two a byte, into `into` from `start` on. */
  takeHex(into: Uint8Array, start: number, byteCount: number): boolean {
    const bytes = this.#bytes;
    let at = this.at;
    for (let nth = 0; nth < byteCount; nth++, at += 2) {
      const value = ((hexValues[bytes[at] ?? 0] ?? notHex) << 4) | (hexValues[bytes[at + 1] ?? 0] ?? notHex);
      if (value > 0xff) return false;
      into[start + nth] = value;
    }
    this.at = at;
    return true;
  }

  /** Over a JSON object, whatever is in it; its text is not checked. */
  skipObject(): boolean {
    const bytes = this.#bytes;
    if (bytes[this.at] !== openBrace) return false;
    let depth = 0;
    for (let at = this.at; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === quote) {
        at++;
        while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
      } else if (byte === openBrace || byte === openBracket) depth++;
      else if (byte === closeBrace || byte === closeBracket) depth--;
      if (depth > 0) continue;
      this.at = at + 1;
      return true;
    }
    return false;
  }

  #skipDigits(): boolean {
    const start = this.at;
    while (this.#digit(this.at) >= 0) this.at++;
    // JSON has no number that begins with a zero but zero itself.
    return this.at > start && (this.at === start + 1 || this.#bytes[start] !== 0x30);
  }

  /** Up to nine digits behind a point, which may be missing. */
  #takeFraction(): boolean {
    this.ns = 0;
    if (!this.takeByte(0x2e)) return true;
    const start = this.at;
    for (let digit = this.#digit(this.at); digit >= 0; digit = this.#digit(++this.at)) this.ns = this.ns * 10 + digit;
    const count = this.at - start;
    for (let nth = count; nth < nsDigits; nth++) this.ns *= 10;
    return count > 0 && count <= nsDigits;
  }

  /** Minutes east of UTC, NaN when there is no zone. */
  #takeZone(): number {
    const sign = this.#bytes[this.at++];
    if (sign === 0x5a) return 0;
    const minutes = this.#twoDigits(this.at) * 60 + this.#twoDigits(this.at + 3);
    const isZone = (sign === 0x2b || sign === 0x2d) && this.#bytes[this.at + 2] === 0x3a && minutes < 24 * 60;
    this.at += 5;
    if (!isZone) return Number.NaN;
    return sign === 0x2b ? minutes : -minutes;
  }

  /** Seconds since 1970 of the date at `at`, NaN when it is none. */
  #dayStart(): number {
    const at = this.at;
    const day = ((this.#twoDigits(at) * 100 + this.#twoDigits(at + 2)) * 100 + this.#twoDigits(at + 5)) * 100 + this.#twoDigits(at + 8);
    if (this.#bytes[at + 4] !== 0x2d || this.#bytes[at + 7] !== 0x2d) return Number.NaN;
    const known = dayStarts.get(day);
    if (known !== undefined) return known;
    const time = decodeTimestamp(`${Buffer.from(this.#bytes.subarray(at, at + 10)).toString('latin1')}T00:00:00Z`);
    if (time === null) return Number.NaN;
    if (dayStarts.size >= maxDayStarts) dayStarts.clear();
    const seconds = Number(time.ns / nsPerSecond);
    dayStarts.set(day, seconds);
    return seconds;
  }

  /** NaN when they are none. */
  #twoDigits(at: number): number {
    const [tens, ones] = [this.#digit(at), this.#digit(at + 1)];
    return tens < 0 || ones < 0 ? Number.NaN : tens * 10 + ones;
  }

  /** -1 when it is none. */
  #digit(at: number): number {
    const digit = (this.#bytes[at] ?? 0) - 0x30;
    return digit >= 0 && digit <= 9 ? digit : -1;
  }
}

const [quote, backslash, space, openBrace, closeBrace, openBracket, closeBracket] = [0x22, 0x5c, 0x20, 0x7b, 0x7d, 0x5b, 0x5d];
/** So many digits are exact in a double, and so many in 64 bits. */
const maxExactDigits = 15;
const maxLongDigits = 19;
const nsDigits = 9;
const nsPerSecond = 1_000_000_000n;

/** By year, month and day as one number. Files that are kept together are often of the same days. */
const dayStarts = new Map<number, number>();
const maxDayStarts = 4096;

const notHex = 0x100;
const hexValues = new Uint16Array(256).fill(notHex);
for (let value = 0; value < 16; value++) hexValues[value.toString(16).charCodeAt(0)] = value;
