/**
 * File names are bytes on disk and in the format, but strings in between. A byte that is no part of valid UTF-8 stands in the string
 * as the lone surrogate U+DC00 + byte (U+DC80 … U+DCFF), which valid UTF-8 never decodes to: so every name survives both ways and
 * two names stay two. Link targets follow the same rule.
 */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function nameOfBytes(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    // Not UTF-8 as a whole: character by character below.
    return decodeByCharacter(bytes);
  }
}

function decodeByCharacter(bytes: Uint8Array): string {
  let name = '';
  for (let at = 0; at < bytes.length;) {
    const character = characterAt(bytes, at);
    name += character?.text ?? String.fromCharCode(0xdc00 + (bytes[at] ?? 0));
    at += character?.sizeBytes ?? 1;
  }
  return name;
}

/** The one character that valid UTF-8 has at `at`, or null. */
function characterAt(bytes: Uint8Array, at: number): { text: string; sizeBytes: number } | null {
  const lead = bytes[at] ?? 0;
  const sizeBytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  try {
    const text = strictUtf8.decode(bytes.subarray(at, at + sizeBytes));
    return { text, sizeBytes };
  } catch {
    return null;
  }
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
