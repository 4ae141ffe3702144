import type { MasterKeys } from './cipher.ts';
import type { RandomBytes } from './random-bytes.ts';

export interface KdfParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

export const defaultKdf: KdfParameters = { N: 32_768, r: 8, p: 1 };

export interface NewKeyFile {
  readonly password: string;
  readonly masterKeys: MasterKeys;
  readonly created: Date;
  readonly username: string;
  readonly hostname: string;
  readonly kdf: KdfParameters;
  readonly random: RandomBytes;
}

export declare function makeKeyFile(input: NewKeyFile): Promise<Uint8Array>;
export declare function openKeyFile(bytes: Uint8Array, password: string): Promise<MasterKeys | null>;
