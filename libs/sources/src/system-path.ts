import { isUtf8 } from 'node:buffer';

/**
 * Paths and names are bytes for the system and strings here. A byte that is no part of valid UTF-8 stands in the string as the lone
 * surrogate U+DC00 + byte (U+DC80 … U+DCFF), which valid UTF-8 never decodes to: two names stay two, and each comes back byte for
 * byte. The same rule as in the tree's own encoding, which this package does not import; a test of the engine holds both together.
 */

/** What node:fs takes for a path: the string where it is one, else its bytes. */
export type SystemPath = string | Buffer;

/** For a call to the system. Handing it the string itself would ask for another name, with U+FFFD in place of the bytes. */
export function toSystemPath(path: string): SystemPath {
  return path.isWellFormed() ? path : pathToBytes(path);
}

/** The string for the bytes of a path or name, whatever they are. */
export function pathFromBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString('utf8');
  const characters: string[] = [];
  for (let at = 0; at < buffer.length;) {
    const character = buffer.subarray(at, at + characterBytes(buffer[at] ?? 0));
    const isCharacter = isUtf8(character);
    characters.push(isCharacter ? character.toString('utf8') : String.fromCharCode(0xdc00 + (buffer[at] ?? 0)));
    at += isCharacter ? character.length : 1;
  }
  return characters.join('');
}

/** The inverse. Any other lone surrogate, which nothing that came from bytes has, becomes U+FFFD. */
export function pathToBytes(path: string): Buffer {
  if (path.isWellFormed()) return Buffer.from(path, 'utf8');
  const parts: Buffer[] = [];
  for (const character of path) {
    const code = character.charCodeAt(0);
    const isRawByte = character.length === 1 && code >= 0xdc80 && code <= 0xdcff;
    parts.push(isRawByte ? Buffer.of(code - 0xdc00) : Buffer.from(character, 'utf8'));
  }
  return Buffer.concat(parts);
}

/** How long the character is that begins with `lead`, if it is one. */
function characterBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/** For texts that people read and JSON columns hold: such bytes as `\xe9`, and a NUL, which only a forged name has, as `\x00`. */
export function printablePath(path: string): string {
  const text = path.replaceAll('\0', String.raw`\x00`);
  if (text.isWellFormed()) return text;
  return text.replaceAll(/[\udc80-\udcff]/gu, (surrogate) => String.raw`\x${(surrogate.charCodeAt(0) - 0xdc00).toString(16)}`);
}
