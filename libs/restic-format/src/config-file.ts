import type { Cipher } from './cipher.ts';
import type { ObjectId } from './object-id.ts';

export interface RepositoryConfig {
  readonly version: 2;
  readonly id: ObjectId;
  readonly chunkerPolynomial: bigint;
}

export declare function encodeConfigFile(config: RepositoryConfig, cipher: Cipher): Uint8Array;
export declare function decodeConfigFile(bytes: Uint8Array, cipher: Cipher): RepositoryConfig;
