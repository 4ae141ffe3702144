import { HoldfastError } from '@holdfast/errors/holdfast-error';

import type { Cipher } from './cipher.ts';
import { encodeGoJson } from './go-json.ts';
import { JsonFields } from './json-fields.ts';
import type { ObjectId } from './object-id.ts';
import { decodeUnpackedFile, encodeUnpackedFile } from './unpacked-file.ts';

/** The file `config`: sealed `{"version":2,"id":"<64 hex>","chunker_polynomial":"<hex>"}`, the one unpacked file that is never compressed. */
export interface RepositoryConfig {
  readonly version: 2;
  /** Random, the same for the life of the repository. */
  readonly id: ObjectId;
  readonly chunkerPolynomial: bigint;
}

const supportedVersion = 2;
const limitBytes = 64 * 1024;

/** The stored bytes of the config, uncompressed. */
export function encodeConfigFile(config: RepositoryConfig, cipher: Cipher): Uint8Array {
  const json = encodeGoJson({ version: config.version, id: config.id, chunker_polynomial: config.chunkerPolynomial.toString(16) });
  return encodeUnpackedFile(json, cipher, { compress: false });
}

/**
 * The inverse. Whether the polynomial is a good one, createChunker says.
 * Errors: repository_damaged; repository_unsupported for another version of the format.
 */
export function decodeConfigFile(bytes: Uint8Array, cipher: Cipher): RepositoryConfig {
  const fields = new JsonFields(decodeUnpackedFile(bytes, cipher, 'the config', limitBytes), 'the config');
  const version = fields.uint('version');
  if (version !== supportedVersion) {
    throw new HoldfastError(
      'repository_unsupported',
      `the repository has format version ${version}; version ${supportedVersion} is supported`,
    );
  }
  const polynomial = fields.string('chunker_polynomial');
  if (!/^[0-9a-f]{1,16}$/.test(polynomial)) throw fields.damaged('chunker_polynomial', 'a hexadecimal number');
  return { version: supportedVersion, id: fields.id('id'), chunkerPolynomial: BigInt(`0x${polynomial}`) };
}
