import type { RandomBytes } from './random-bytes.ts';

/** The keys of a repository: AES-256 for encryption, AES-128 key k and Poly1305 key r for authentication. */
export interface MasterKeys {
  readonly encrypt: Uint8Array;
  readonly macK: Uint8Array;
  readonly macR: Uint8Array;
}

/** Seals and opens. Owns its own memory, so one belongs to one thread; make it there from the keys. */
export interface Cipher {
  /** Encrypts under a new random IV: IV ‖ ciphertext ‖ MAC. The caller owns the result. */
  seal(plain: Uint8Array): Uint8Array;
  /** The plaintext. Checks the MAC before it decrypts. Errors: repository_damaged. */
  open(sealed: Uint8Array): Uint8Array;
  /** What `seal` makes of `plainBytes` bytes. */
  sealedSize(plainBytes: number): number;
}

export const overheadBytes = 32;

export declare function createCipher(keys: MasterKeys, random?: RandomBytes): Cipher;
export declare function generateMasterKeys(random: RandomBytes): MasterKeys;
