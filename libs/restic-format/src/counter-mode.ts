import { createCipheriv } from 'node:crypto';

import { invariant } from '@holdfast/errors/invariant';

/**
 * AES-256 in counter mode where the bytes lie. node:crypto gives its output in a new buffer each time: a gigabyte that goes through
 * it leaves a gigabyte for the collector, and a context for each blob costs as much as a small blob does. Node carries OpenSSL and
 * exports its calls, so they are called directly through Node's foreign function interface, with one context that is kept. That is
 * marked experimental: where it is not there, the public calls do the same work.
 */
export interface CounterMode {
  /** Encrypts, or decrypts, which is the same. `iv` is left as it is. */
  apply(iv: Uint8Array, bytes: Uint8Array): void;
  /** Whether nothing is allocated. */
  readonly isInPlace: boolean;
}

const keyBytes = 32;
const ivBytes = 16;

/** `options.usePublicCall`: for the test of it. */
export function createCounterMode(key: Uint8Array, options: { usePublicCall?: boolean } = {}): CounterMode {
  invariant(key.length === keyBytes, 'an AES-256 key has 32 bytes');
  return (options.usePublicCall === true ? undefined : nativeCounterMode(key)) ?? publicCounterMode(key);
}

const definitions = {
  EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
  EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
  EVP_aes_256_ctr: { arguments: [], return: 'pointer' },
  EVP_EncryptInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'buffer', 'buffer'], return: 'i32' },
  EVP_EncryptUpdate: { arguments: ['pointer', 'buffer', 'buffer', 'buffer', 'i32'], return: 'i32' },
} as const;

/** Contexts live as long as what encrypts with them. */
const contexts = new FinalizationRegistry<() => void>((free) => free());

function nativeCounterMode(key: Uint8Array): CounterMode | undefined {
  const functions = loadFunctions();
  if (functions === undefined) return undefined;
  const context = functions.EVP_CIPHER_CTX_new();
  if (context === 0n) return undefined;
  // The first call sets cipher and key, each later one the IV alone.
  const isReady = functions.EVP_EncryptInit_ex(context, functions.EVP_aes_256_ctr(), 0n, key, new Uint8Array(ivBytes)) === 1;
  const written = new Int32Array(1);
  const mode: CounterMode = {
    isInPlace: true,
    apply: (iv, bytes) => {
      invariant(iv.length === ivBytes, 'an IV has 16 bytes');
      if (bytes.length === 0) return;
      const hasDone =
        functions.EVP_EncryptInit_ex(context, 0n, 0n, null, iv) === 1 &&
        functions.EVP_EncryptUpdate(context, bytes, written, bytes, bytes.length) === 1;
      invariant(hasDone && written[0] === bytes.length, 'counter mode took other bytes than it was given');
    },
  };
  contexts.register(mode, () => functions.EVP_CIPHER_CTX_free(context));
  return isReady ? mode : undefined;
}

let loaded: ReturnType<typeof load> | 'not-tried' = 'not-tried';

function loadFunctions(): ReturnType<typeof load> {
  if (loaded === 'not-tried') loaded = load();
  return loaded;
}

function load() {
  const ffi = process.getBuiltinModule('node:ffi');
  if (ffi === undefined) return undefined;
  try {
    return ffi.dlopen(null, definitions).functions;
  } catch (error) {
    // A Node that was built without these names.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** Small enough for the outputs to stay in the processor's cache, and for the allocator to use their memory again. */
const pieceBytes = 32 * 1024;

function publicCounterMode(key: Uint8Array): CounterMode {
  return {
    isInPlace: false,
    apply: (iv, bytes) => {
      const stream = createCipheriv('aes-256-ctr', key, iv);
      for (let at = 0; at < bytes.length; at += pieceBytes) bytes.set(stream.update(bytes.subarray(at, at + pieceBytes)), at);
    },
  };
}
