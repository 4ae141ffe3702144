import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The tar archives that a PostgreSQL server makes: POSIX ustar, headers of 512 bytes, content padded to 512. Numbers are octal text or,
 * from 8 GiB on, base 256 with the first bit set (GNU). The two empty blocks at the end are there from PostgreSQL 15 on. Nothing is
 * copied but a header that lies across two pieces. Source: src/port/tar.c.
 *
 *     name[100] mode[8] uid[8] gid[8] size[12] mtime[12] checksum[8] type link[100] magic[8] user[32] group[32] device[16] prefix[155]
 */
export interface TarEntry {
  readonly kind: 'file' | 'directory' | 'symlink';
  /** With `/` between names, without one at the end. */
  readonly path: string;
  readonly mode: number;
  /** Seconds since 1970. */
  readonly modifiedS: number;
  /** 0 for anything but a file. */
  readonly sizeBytes: number;
  /** Of a symlink. */
  readonly linkTarget: string;
}

/** Where the bytes come from. */
export interface SliceSource {
  /** Null at their end. */
  nextSlice(): Promise<Buffer | null>;
  /** What has arrived already; null when nothing has, or nothing will. */
  takeSlice(): Buffer | null;
}

const blockBytes = 512;
const kindByType: Readonly<Record<number, TarEntry['kind']>> = { 0x30: 'file', 0x35: 'directory', 0x32: 'symlink' };

export class TarReader {
  readonly #source: SliceSource;
  /** What arrived and was not looked at. */
  #rest: Buffer | null = null;
  #contentLeftBytes = 0;
  #paddingLeftBytes = 0;

  constructor(source: SliceSource) {
    this.#source = source;
  }

  /** Of the current entry. */
  get contentLeftBytes(): number {
    return this.#contentLeftBytes;
  }

  /** The next entry, once the content of the last one was taken; null at the end. Code: postgresql_stream_damaged. */
  async next(): Promise<TarEntry | null> {
    while (this.#paddingLeftBytes > 0) {
      const slice = await this.#some(this.#paddingLeftBytes);
      if (slice === null) throw damaged('ends within an entry');
      this.#paddingLeftBytes -= slice.length;
    }
    const header = await this.#header();
    if (header === null) return null;
    if (header[0] === 0) {
      await this.#skipEnd(header);
      return null;
    }
    const entry = decodeHeader(header);
    this.#contentLeftBytes = entry.sizeBytes;
    this.#paddingLeftBytes = (blockBytes - (entry.sizeBytes % blockBytes)) % blockBytes;
    return entry;
  }

  /**
   * Copies the current entry's content to `into`; returns the bytes, fewer than there is room for only where the content ends, and 0 at its
   * end. What has arrived is taken without waiting: a step through the queue of promises for each message would cost as much as copying it.
   */
  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length && this.#contentLeftBytes > 0) {
      const room = Math.min(into.length - filled, this.#contentLeftBytes);
      const slice = this.#takeArrived(room) ?? (await this.#some(room));
      if (slice === null) throw damaged('ends within a file');
      into.set(slice, filled);
      filled += slice.length;
      this.#contentLeftBytes -= slice.length;
    }
    return filled;
  }

  async #some(maxBytes: number): Promise<Buffer | null> {
    this.#rest ??= await this.#source.nextSlice();
    return this.#takeRest(maxBytes);
  }

  #takeArrived(maxBytes: number): Buffer | null {
    this.#rest ??= this.#source.takeSlice();
    return this.#takeRest(maxBytes);
  }

  #takeRest(maxBytes: number): Buffer | null {
    const slice = this.#rest;
    if (slice === null || slice.length <= maxBytes) {
      this.#rest = null;
      return slice;
    }
    this.#rest = slice.subarray(maxBytes);
    return slice.subarray(0, maxBytes);
  }

  async #header(): Promise<Buffer | null> {
    const first = await this.#some(blockBytes);
    if (first === null || first.length === blockBytes) return first;
    const whole = Buffer.allocUnsafe(blockBytes);
    for (let filled = first.copy(whole); filled < blockBytes;) {
      const slice = await this.#some(blockBytes - filled);
      if (slice === null) throw damaged('ends within a header');
      filled += slice.copy(whole, filled);
    }
    return whole;
  }

  async #skipEnd(block: Buffer): Promise<void> {
    for (let slice: Buffer | null = block; slice !== null; slice = await this.#some(blockBytes)) {
      if (slice.some((byte) => byte !== 0)) throw damaged('goes on after its end');
    }
  }
}

function decodeHeader(header: Buffer): TarEntry {
  let sum = 0;
  // The checksum's own field counts as blanks.
  for (let at = 0; at < blockBytes; at++) sum += at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0);
  if (sum !== numberAt(header, 148, 8)) throw damaged('has a header whose checksum is wrong');
  const kind = kindByType[header[156] ?? 0];
  if (kind === undefined) throw damaged(`holds an entry of type ${header[156]}`);
  const prefix = textAt(header, 345, 155);
  const name = textAt(header, 0, 100);
  return {
    kind,
    path: checkedPath(prefix === '' ? name : `${prefix}/${name}`),
    mode: numberAt(header, 100, 8) & 0o7777,
    modifiedS: numberAt(header, 136, 12),
    sizeBytes: kind === 'file' ? numberAt(header, 124, 12) : 0,
    linkTarget: textAt(header, 157, 100),
  };
}

function textAt(header: Buffer, at: number, length: number): string {
  const end = header.indexOf(0, at);
  const bytes = header.subarray(at, end < 0 || end > at + length ? at + length : end);
  const text = bytes.toString('utf8');
  if (Buffer.byteLength(text) === bytes.length && !text.includes('\ufffd')) return text;
  throw new HoldfastError('postgresql_failed', `the server's data folder holds a file whose name is not UTF-8: ${JSON.stringify(text)}`, {
    hint: 'PostgreSQL makes no such file; move it out of the data folder',
  });
}

function numberAt(header: Buffer, at: number, length: number): number {
  const first = header[at] ?? 0;
  let value = 0;
  if ((first & 0x80) !== 0) {
    value = first & 0x7f;
    for (let index = 1; index < length; index++) value = value * 256 + (header[at + index] ?? 0);
  } else {
    const text = header
      .toString('latin1', at, at + length)
      .replace(/[\0 ]+$/u, '')
      .trimStart();
    value = text === '' ? 0 : /^[0-7]+$/u.test(text) ? Number.parseInt(text, 8) : Number.NaN;
  }
  if (!Number.isSafeInteger(value)) throw damaged('has a number that is none');
  return value;
}

/** A path that stays inside of where it is unpacked, without its last `/`. */
function checkedPath(path: string): string {
  const plain = path.replace(/\/+$/u, '').replace(/^\.\//u, '');
  if (plain === '' || plain.split('/').some((name) => name === '' || name === '.' || name === '..')) {
    throw damaged(`names ${JSON.stringify(path)}`);
  }
  return plain;
}

function damaged(how: string): HoldfastError {
  return new HoldfastError('postgresql_stream_damaged', `an archive of the base backup ${how}`);
}
