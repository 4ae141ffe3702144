import { invariant } from '@holdfast/errors/invariant';

import { loadNativeFunctions } from './native-functions.ts';

/** AES through OpenSSL's own calls, with one context that is kept for a key; see native-functions.ts. */
export interface NativeAes {
  /** Begins anew with another IV. For modes that have one. */
  setIv(iv: Uint8Array): void;
  /** Encrypts to `to`, which may be `bytes`: whole blocks, or any number of bytes in counter mode. */
  apply(bytes: Uint8Array, to: Uint8Array): void;
}

export type AesMode = 'aes-256-ctr' | 'aes-256-ecb' | 'aes-128-ecb';

const definitions = {
  EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
  EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
  EVP_aes_256_ctr: { arguments: [], return: 'pointer' },
  EVP_aes_256_ecb: { arguments: [], return: 'pointer' },
  EVP_aes_128_ecb: { arguments: [], return: 'pointer' },
  EVP_EncryptInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'buffer', 'buffer'], return: 'i32' },
  EVP_EncryptUpdate: { arguments: ['pointer', 'buffer', 'buffer', 'buffer', 'i32'], return: 'i32' },
} as const;

const load = () => loadNativeFunctions(definitions);
let loaded: ReturnType<typeof load> | 'not-tried' = 'not-tried';

/** Contexts live as long as what encrypts with them. */
const contexts = new FinalizationRegistry<() => void>((free) => free());

/** Undefined where Node does not give access to its OpenSSL. */
export function openNativeAes(aesMode: AesMode, key: Uint8Array): NativeAes | undefined {
  if (loaded === 'not-tried') loaded = load();
  const functions = loaded;
  if (functions === undefined) return undefined;
  const context = functions.EVP_CIPHER_CTX_new();
  if (context === 0n) return undefined;
  const ofMode = {
    'aes-256-ctr': functions.EVP_aes_256_ctr,
    'aes-256-ecb': functions.EVP_aes_256_ecb,
    'aes-128-ecb': functions.EVP_aes_128_ecb,
  };
  // The first call sets cipher and key, each later one the IV alone.
  const isReady = functions.EVP_EncryptInit_ex(context, ofMode[aesMode](), 0n, key, new Uint8Array(16)) === 1;
  const written = new Int32Array(1);
  const aes: NativeAes = {
    setIv(iv) {
      invariant(functions.EVP_EncryptInit_ex(context, 0n, 0n, null, iv) === 1, 'AES does not take its IV');
    },
    apply(bytes, to) {
      invariant(to.length === bytes.length, 'AES has no room for what it makes');
      const hasDone = functions.EVP_EncryptUpdate(context, to, written, bytes, bytes.length) === 1;
      invariant(hasDone && written[0] === bytes.length, 'AES took other bytes than it was given');
    },
  };
  contexts.register(aes, () => functions.EVP_CIPHER_CTX_free(context));
  return isReady ? aes : undefined;
}
