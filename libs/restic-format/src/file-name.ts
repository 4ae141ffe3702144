import { isUtf8 } from 'node:buffer';

/**
 * File names are bytes on disk and in the format, but strings in between. A byte that is no part of valid UTF-8 stands in the string
 * as the lone surrogate U+DC00 + byte (U+DC80 … U+DCFF), which valid UTF-8 never decodes to: so every name survives both ways and
 * two names stay two. Link targets follow the same rule.
 */

/** The string for the bytes of a name, whatever they are. */
export function nameOfBytes(bytes: Uint8Array): string {
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

/** How long the character is that begins with `lead`, if it is one. */
function characterBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/** The inverse of nameOfBytes. Any other lone surrogate, which no name that came from bytes has, becomes U+FFFD. */
export function bytesOfName(name: string): Uint8Array {
  if (name.isWellFormed()) return Buffer.from(name, 'utf8');
  const parts: Buffer[] = [];
  for (const character of name) {
    const code = character.charCodeAt(0);
    const isRawByte = character.length === 1 && code >= 0xdc80 && code <= 0xdcff;
    parts.push(isRawByte ? Buffer.of(code - 0xdc00) : Buffer.from(character, 'utf8'));
  }
  return Buffer.concat(parts);
}

/** Orders names by their bytes, as trees are sorted: negative, zero or positive. */
export function compareNames(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Below the surrogates UTF-16 and UTF-8 sort alike.
    return x < 0xd800 && y < 0xd800 ? x - y : Buffer.compare(bytesOfName(a), bytesOfName(b));
  }
  return a.length - b.length;
}
