import { HoldfastError } from '@holdfast/errors/holdfast-error';

import type { Cipher } from './cipher.ts';
import { compressAt, decompressUpTo } from './compression.ts';
import { parseJson } from './json-fields.ts';

/**
 * Unpacked files (index, snapshot, lock, config): sealed JSON, one object a file. The plaintext begins with a byte for its encoding:
 * 0x02 then zstd(JSON), or `{` or `[`, the JSON itself (version 1 of the format, and the config of every version).
 */
const zstdEncoding = 0x02;
const plainEncodings = new Set([0x5b, 0x7b]);

const compressionLevel = 3;

/** How much more the JSON of an index or a snapshot usually has than its frame. */
const usualRatio = 4;

/** The sealed file. Everything but the config is compressed. */
export function encodeUnpackedFile(json: string, cipher: Cipher, options: { compress: boolean }): Uint8Array {
  const plain = Buffer.from(json, 'utf8');
  if (!options.compress) return cipher.seal(plain);
  const compressed = compressAt(plain, compressionLevel);
  return cipher.seal(Buffer.concat([Uint8Array.of(zstdEncoding), compressed]));
}

/**
 * The parsed JSON of a sealed file; `what` names the file in messages, `limitBytes` bounds its plaintext.
 * Errors: repository_damaged; repository_unsupported for an encoding that this version does not know.
 */
export function decodeUnpackedFile(bytes: Uint8Array, cipher: Cipher, what: string, limitBytes: number): unknown {
  return parseJson(openUnpackedFile(bytes, cipher, what, limitBytes), what);
}

/** As decodeUnpackedFile, but gives the bytes of the JSON, which are not looked at. */
export function openUnpackedFile(bytes: Uint8Array, cipher: Cipher, what: string, limitBytes: number): Uint8Array {
  const plain = cipher.open(bytes);
  const encoding = plain[0];
  if (encoding === undefined) throw new HoldfastError('repository_damaged', `${what} is empty`);
  if (encoding === zstdEncoding) {
    return decompressUpTo(plain.subarray(1), limitBytes, plain.length * usualRatio);
  }
  if (!plainEncodings.has(encoding)) {
    throw new HoldfastError('repository_unsupported', `${what} has the unknown encoding ${encoding}`, {
      hint: 'the file was written by a newer program; use that, or a newer version of this one',
    });
  }
  if (plain.length > limitBytes) throw new HoldfastError('repository_damaged', `${what} is larger than ${limitBytes} bytes`);
  return plain;
}
