import type { Cipher } from './cipher.ts';

export interface LockFile {
  readonly timeNs: bigint;
  readonly zoneMinutes?: number;
  readonly exclusive: boolean;
  readonly hostname: string;
  readonly username: string;
  readonly pid: number;
  readonly uid?: number;
  readonly gid?: number;
}

export declare function encodeLockFile(lock: LockFile, cipher: Cipher): Uint8Array;
export declare function decodeLockFile(bytes: Uint8Array, cipher: Cipher): LockFile;
