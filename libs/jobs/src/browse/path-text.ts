import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * How a path of a snapshot is written in requests, answers, events and logs. A file name is any bytes but `/` and NUL, text is not:
 *
 *     /home/ann/plan.txt     as it is, in UTF-8
 *     /home/ann/a\\b         a backslash is written twice
 *     /home/ann/caf\xe9      a byte that belongs to no UTF-8
 *     /home/ann/two\nlines   control characters, so that no name takes over a terminal: \n, \t, \r, else \x1b
 *
 * restic writes names in its trees in the same way. Inside of the program a byte that is no UTF-8 stands as a lone surrogate, U+DC80 for 0x80
 * to U+DCFF for 0xff.
 */
const shortEscapes: Readonly<Record<string, string>> = { '\n': 'n', '\t': 't', '\r': 'r', '\\': '\\' };
const escapedByLetter = new Map(Object.entries(shortEscapes).map(([character, letter]) => [letter, character]));
const firstRawByte = 0xdc80;
const lastRawByte = 0xdcff;
/** What a file system takes: Linux bounds a path at 4,096 bytes, and deeper trees are made of parts. */
export const pathMaxBytes = 16 * 1024;

/** A name or a path for others to read. Only ASCII control characters, backslashes and what is no UTF-8 are escaped. */
export function writePath(path: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what must not get out
  if (path.isWellFormed() && !/[\\\u0000-\u001f\u007f]/u.test(path)) return path;
  let text = '';
  for (const character of path) text += writeCharacter(character);
  return text;
}

function writeCharacter(character: string): string {
  const short = shortEscapes[character];
  if (short !== undefined) return `\\${short}`;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return hexEscape(code);
  if (code >= firstRawByte && code <= lastRawByte) return hexEscape(code - 0xdc00);
  // Half a pair stands for no byte: nobody could have stored it.
  return code >= 0xd800 && code <= 0xdfff ? '\ufffd' : character;
}

const hexEscape = (byte: number): string => `\\x${byte.toString(16).padStart(2, '0')}`;

/**
 * The path that `text` writes: absolute, without empty, `.` and `..` parts (`/` for the whole snapshot; one slash at the end is taken).
 * Code: request_invalid, whose message says what is wrong with it.
 */
export function readPath(text: string): string {
  const path = readName(text);
  if (!path.startsWith('/')) throw invalid('must be absolute: it begins with /');
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  if (trimmed === '/') return trimmed;
  for (const part of trimmed.slice(1).split('/')) {
    if (part === '') throw invalid('must not have an empty part: // stands in it');
    if (part === '.' || part === '..') throw invalid('must not have . or .. as a part: name the place itself');
  }
  return trimmed;
}

/** A name, or a pattern of names, with its escapes read. Code: request_invalid. */
export function readName(text: string): string {
  if (Buffer.byteLength(text) > pathMaxBytes) throw invalid(`must be at most ${pathMaxBytes} bytes long`);
  if (!text.isWellFormed()) throw invalid(String.raw`must be UTF-8; write other bytes as \xff`);
  const bytes: Buffer[] = [];
  for (const match of text.matchAll(/\\(?:x([0-9a-fA-F]{2})|([\s\S]?))|[^\\]+/gu)) {
    const [whole, hex, letter] = match;
    if (hex !== undefined) bytes.push(Buffer.of(Number.parseInt(hex, 16)));
    else if (letter === undefined) bytes.push(Buffer.from(whole, 'utf8'));
    else bytes.push(Buffer.from(escaped(letter), 'utf8'));
  }
  const name = textOfBytes(Buffer.concat(bytes));
  if (name.includes('\0')) throw invalid('must not hold NUL');
  return name;
}

function escaped(letter: string): string {
  const character = escapedByLetter.get(letter);
  if (character !== undefined) return character;
  throw invalid(String.raw`has a backslash that begins no escape: write \\ for a backslash, \xff for a byte that is no UTF-8`);
}

/** Through bytes, since several escapes may be one character. */
function textOfBytes(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!text.includes('\ufffd') || Buffer.from(text, 'utf8').equals(bytes)) return text;
  let path = '';
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    path += length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0)) : bytes.toString('utf8', at, at + length);
    at += Math.max(length, 1);
  }
  return path;
}

/** Bytes of the UTF-8 character at `at`; 0 when there is none. */
function characterLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  const slice = bytes.subarray(at, at + length);
  return slice.length === length && Buffer.from(slice.toString('utf8'), 'utf8').equals(slice) ? length : 0;
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('request_invalid', message);
}
