import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';

import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { instantiateKernels, macKeyAddress, macPadAddress, macPieceBytes, macTagAddress, windowAddress } from './kernels/kernels.ts';
import type { RandomBytes } from './random-bytes.ts';

/**
 * Sealing: IV (16 random bytes) ‖ AES-256-CTR ciphertext ‖ Poly1305-AES MAC (16 bytes). The MAC is over the ciphertext, with the
 * clamped key r and s = AES-128(k, IV). See "Keys, Encryption and MAC" in restic's doc/design.rst.
 */

/** The keys of a repository: 32 bytes for AES-256, 16 for AES-128 (k) and 16 for Poly1305 (r). */
export interface MasterKeys {
  readonly encrypt: Uint8Array;
  readonly macK: Uint8Array;
  readonly macR: Uint8Array;
}

/** Seals and opens. One belongs to one thread: hand the keys to a worker and make another there. */
export interface Cipher {
  /** Encrypts under a new random IV. `plain` is left as it is; the caller owns the result. */
  seal(plain: Uint8Array): Uint8Array;

  /**
   * The plaintext, which the caller owns. The MAC is checked before anything is decrypted. Errors: repository_damaged when the
   * bytes are too short or were not sealed, whole, under these keys.
   */
  open(sealed: Uint8Array): Uint8Array;

  /** The length of what `seal` makes of `plainBytes` bytes. */
  sealedSize(plainBytes: number): number;
}

const ivBytes = 16;
const macBytes = 16;

/** What sealing adds to the length. */
export const overheadBytes = ivBytes + macBytes;

/** One for all ciphers of a thread, whose calls end before the next begin: a memory for each would cost more than most of them do. */
let sharedKernels: ReturnType<typeof instantiateKernels> | undefined;
let keyInKernels: Uint8Array | undefined;

/** IVs are drawn and encrypted this many at a time: a draw costs as much as sealing a small blob. */
const ivBatchCount = 128;

/**
 * A cipher under `keys`, with IVs from `random`, which has to be unpredictable: an IV that comes twice gives its plaintexts away.
 * Errors: internal for keys of the wrong length.
 */
export function createCipher(keys: MasterKeys, random: RandomBytes = randomBytes): Cipher {
  invariant(keys.encrypt.length === 32 && keys.macK.length === 16 && keys.macR.length === 16, 'master keys have the wrong length');
  const encryptKey = Buffer.from(keys.encrypt);
  // One block a nonce, no chaining: ECB is AES itself.
  const padCipher = createCipheriv('aes-128-ecb', keys.macK, null).setAutoPadding(false);
  const macKey = Uint8Array.from(keys.macR);
  const { kernels, memory } = (sharedKernels ??= instantiateKernels(macPieceBytes));

  const ivs = new IvSupply(random);

  /** Begins the MAC for an IV, then takes ciphertext piece by piece; `tag` is valid until the next MAC begins. */
  const beginMac = (iv: Uint8Array): void => {
    if (keyInKernels !== macKey) {
      memory.set(macKey, macKeyAddress);
      kernels.macSetKey();
      keyInKernels = macKey;
    }
    memory.set(padCipher.update(iv), macPadAddress);
    kernels.macBegin();
  };
  const addToMac = (piece: Uint8Array, isLast: boolean): void => {
    memory.set(piece, windowAddress);
    const wholeBytes = piece.length & ~15;
    kernels.macUpdate(windowAddress, wholeBytes);
    if (isLast) kernels.macEnd(windowAddress + wholeBytes, piece.length - wholeBytes);
  };
  const tag = memory.subarray(macTagAddress, macTagAddress + macBytes);

  return {
    sealedSize: (plainBytes) => plainBytes + overheadBytes,

    seal(plain) {
      const sealed = Buffer.allocUnsafeSlow(plain.length + overheadBytes);
      const iv = ivs.next();
      sealed.set(iv, 0);
      const stream = createCipheriv('aes-256-ctr', encryptKey, iv);
      beginMac(iv);
      // Piece by piece, so that the ciphertext is still in the processor's cache when the MAC reads it.
      let at = 0;
      do {
        const end = Math.min(at + macPieceBytes, plain.length);
        const piece = stream.update(plain.subarray(at, end));
        sealed.set(piece, ivBytes + at);
        addToMac(piece, end === plain.length);
        at = end;
      } while (at < plain.length);
      sealed.set(tag, ivBytes + plain.length);
      return sealed;
    },

    open(sealed) {
      if (sealed.length < overheadBytes) throw damaged(`sealed bytes are too short: ${sealed.length}`);
      const iv = sealed.subarray(0, ivBytes);
      const ciphertext = sealed.subarray(ivBytes, sealed.length - macBytes);
      beginMac(iv);
      let at = 0;
      do {
        const end = Math.min(at + macPieceBytes, ciphertext.length);
        addToMac(ciphertext.subarray(at, end), end === ciphertext.length);
        at = end;
      } while (at < ciphertext.length);
      if (!timingSafeEqual(tag, sealed.subarray(sealed.length - macBytes))) throw damaged('sealed bytes do not match their MAC');
      return decrypt(encryptKey, iv, ciphertext);
    },
  };
}

function decrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  // Counter mode is its own inverse.
  const stream = createCipheriv('aes-256-ctr', key, iv);
  const plain = Buffer.allocUnsafeSlow(ciphertext.length);
  for (let at = 0; at < ciphertext.length; at += macPieceBytes) {
    plain.set(stream.update(ciphertext.subarray(at, at + macPieceBytes)), at);
  }
  return plain;
}

/** New keys from `random`, for a new repository. */
export function generateMasterKeys(random: RandomBytes = randomBytes): MasterKeys {
  return { encrypt: random(32), macK: random(16), macR: random(16) };
}

class IvSupply {
  readonly #random: RandomBytes;
  #batch: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(random: RandomBytes) {
    this.#random = random;
  }

  next(): Uint8Array {
    if (this.#at === this.#batch.length) {
      this.#batch = this.#random(ivBatchCount * ivBytes);
      this.#at = 0;
    }
    const iv = this.#batch.subarray(this.#at, this.#at + ivBytes);
    this.#at += ivBytes;
    return iv;
  }
}

const damaged = (message: string): HoldfastError => new HoldfastError('repository_damaged', message);
