import { bytesOfName, nameOfBytes } from './file-name.ts';

/**
 * The quoting of Go's strconv.Quote, without the quotes around it: how a tree writes names, so that names that are no UTF-8 fit into
 * JSON. `"` and `\` are escaped, printable characters stand as they are, other ones as \a \b \f \n \r \t \v, \x7f, \u00ad or
 * \U000e0001, and bytes that are no UTF-8 as \xff.
 *
 * "Printable" is Unicode's letters, marks, numbers, punctuation, symbols and the space, of the Unicode version that the program was
 * built with. A name with a character that is younger than the Unicode of one restic is quoted there and plain here: both read alike.
 */
const plainName = /^[ !#-[\]-~]*$/;
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

const shortEscapes = new Map([
  ['\u0007', String.raw`\a`],
  ['\b', String.raw`\b`],
  ['\f', String.raw`\f`],
  ['\n', String.raw`\n`],
  ['\r', String.raw`\r`],
  ['\t', String.raw`\t`],
  ['\v', String.raw`\v`],
  ['"', String.raw`\"`],
  ['\\', '\\\\'],
]);

/** `name` as file-name.ts has it: lone surrogates U+DC80 … U+DCFF are bytes. */
export function quoteName(name: string): string {
  if (plainName.test(name)) return name;
  let quoted = '';
  for (const character of name) quoted += shortEscapes.get(character) ?? quoteCharacter(character);
  return quoted;
}

function quoteCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code >= 0xdc80 && code <= 0xdcff) return escapeCode('x', code - 0xdc00, 2);
  if (printable.test(character)) return character;
  if (code < 0x20 || code === 0x7f) return escapeCode('x', code, 2);
  return code < 0x1_0000 ? escapeCode('u', code, 4) : escapeCode('U', code, 8);
}

const escapeCode = (letter: string, code: number, digitCount: number): string =>
  `\\${letter}${code.toString(16).padStart(digitCount, '0')}`;

const quotedPiece = /\\(?:([abfnrtv"\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))|([^\\"\n]+)/uy;

const unescaped = new Map([...shortEscapes].map(([character, escape]) => [escape.slice(1), character]));

/** The inverse of quoteName; null for what strconv.Unquote would not take. */
export function unquoteName(quoted: string): string | null {
  if (plainName.test(quoted)) return quoted;
  const parts: Uint8Array[] = [];
  quotedPiece.lastIndex = 0;
  while (quotedPiece.lastIndex < quoted.length) {
    const match = quotedPiece.exec(quoted);
    if (!match) return null;
    const part = pieceBytes(match);
    if (!part) return null;
    parts.push(part);
  }
  // Through bytes, since several \x escapes may be one character.
  return nameOfBytes(Buffer.concat(parts));
}

function pieceBytes([, short, hexByte, hex4, hex8, octal, plain]: RegExpExecArray): Uint8Array | null {
  if (plain !== undefined) return bytesOfName(plain);
  if (short !== undefined) return bytesOfName(unescaped.get(short) ?? '');
  if (hexByte !== undefined) return Uint8Array.of(Number.parseInt(hexByte, 16));
  if (octal !== undefined) {
    const byte = Number.parseInt(octal, 8);
    return byte <= 0xff ? Uint8Array.of(byte) : null;
  }
  const code = Number.parseInt(hex4 ?? hex8 ?? '', 16);
  const isCharacter = code <= 0x10_ffff && (code < 0xd800 || code > 0xdfff);
  return isCharacter ? bytesOfName(String.fromCodePoint(code)) : null;
}
