import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { maxChunkBytes, minChunkBytes } from './chunker.ts';
import { overheadBytes, type MasterKeys } from './cipher.ts';
import { createCounterMode } from './counter-mode.ts';
import { instantiateKernels, macKeyAddress, macPadAddress, macTagAddress, windowAddress, type Kernels } from './kernels/kernels.ts';
import type { RandomBytes } from './random-bytes.ts';

/**
 * Cutting, sealing and opening inside one piece of WebAssembly memory: whoever reads files into it and compresses within it never
 * copies. The results are those of Chunker and Cipher, bit for bit. Addresses are offsets into `memory`. Not for two threads.
 */
export interface Arena {
  readonly memory: Uint8Array<ArrayBuffer>;
  /** From here on `memory` is the caller's; below it are the kernels' tables and the keystream. */
  readonly firstAddress: number;
  readonly kernels: Kernels;
}

/** Where counter mode is not to be had in place, blobs up to this size get their keystream from one long-lived AES context. */
const maxMaskedBytes = 16 * 1024;
const keystreamAddress = windowAddress;
const firstAddress = windowAddress + maxMaskedBytes;

/** A memory with `sizeBytes` for the caller. It is all zero, and takes room only where it is written to. */
export function openArena(sizeBytes: number): Arena {
  const { kernels, memory } = instantiateKernels(maxMaskedBytes + sizeBytes);
  return { memory, kernels, firstAddress };
}

/** Finds cuts in an arena's memory; see Chunker.cut. The 64 bytes before `start + minChunkBytes − 1` are looked at too. */
export interface ArenaChunker {
  cut(start: number, end: number, isLast: boolean): number;
}

/** Bytes that are scanned at once, in four lanes: small enough to lose little when the cut is in the first of them. */
const scanBytes = 128 * 1024;

/** `polynomial` has been checked by createChunker, or comes from a repository that is open. */
export function createArenaChunker({ kernels }: Arena, polynomial: bigint): ArenaChunker {
  kernels.chunkSetPolynomial(polynomial);
  const firstCut = (from: number, to: number): number => {
    for (let at = from; at < to; at += scanBytes) {
      const size = Math.min(scanBytes, to - at);
      const laneBytes = size >>> 2;
      const hit = kernels.chunkScan(at, laneBytes);
      if (hit > 0) return at + hit;
      const inLanes = laneBytes * 4;
      const restHit = kernels.chunkScanRest(at + inLanes, size - inLanes);
      if (restHit > 0) return at + inLanes + restHit;
    }
    return 0;
  };
  return {
    cut(start, end, isLast) {
      const available = end - start;
      if (available >= minChunkBytes) {
        const limit = Math.min(available, maxChunkBytes);
        const cut = firstCut(start + minChunkBytes - 1, start + limit);
        if (cut > 0) return cut - start;
        if (limit === maxChunkBytes) return maxChunkBytes;
      }
      return isLast ? available : 0;
    },
  };
}

/** Seals and opens where the bytes lie; see Cipher. */
export interface ArenaCipher {
  /** Seals the `plainBytes` at `at + 16`: the sealed bytes begin at `at` and reach 16 bytes further than the plain ones did. Returns their count. */
  seal(at: number, plainBytes: number): number;
  /**
   * Opens the `sealedBytes` at `at`: the plaintext is then at `at + 16`; returns its length. Errors: repository_damaged, with
   * nothing decrypted, when they were not sealed under these keys.
   */
  open(at: number, sealedBytes: number): number;
}

const ivBytes = 16;
const macBytes = 16;
/** IVs are drawn and encrypted this many at a time. */
const ivBatchCount = 256;

export function createArenaCipher(
  { kernels, memory }: Arena,
  keys: MasterKeys,
  options: { readonly random?: RandomBytes; readonly usePublicCall?: boolean } = {},
): ArenaCipher {
  const { random = randomBytes } = options;
  const encryptKey = Buffer.from(keys.encrypt);
  const padCipher = createCipheriv('aes-128-ecb', keys.macK, null).setAutoPadding(false);
  const counterMode = createCounterMode(encryptKey, options);
  // Counter mode over ECB is how a block cipher becomes a stream; nothing but counters ever goes through it.
  const blockCipher = createCipheriv('aes-256-ecb', encryptKey, null).setAutoPadding(false);
  memory.set(keys.macR, macKeyAddress);
  kernels.macSetKey();
  let ivs = new Uint8Array(0);
  let pads = new Uint8Array(0);
  let nextIv = 0;

  const encrypt = (ivAt: number, sizeBytes: number): void => {
    const at = ivAt + ivBytes;
    if (sizeBytes > maxMaskedBytes || counterMode.isInPlace) {
      counterMode.apply(memory.subarray(ivAt, at), memory.subarray(at, at + sizeBytes));
      return;
    }
    const blockCount = (sizeBytes + 15) >>> 4;
    kernels.counterBlocks(ivAt, keystreamAddress, blockCount);
    memory.set(blockCipher.update(memory.subarray(keystreamAddress, keystreamAddress + blockCount * 16)), keystreamAddress);
    kernels.mask(at, keystreamAddress, sizeBytes);
  };
  /** Leaves the tag at macTagAddress. */
  const computeMac = (pad: Uint8Array, at: number, sizeBytes: number): void => {
    memory.set(pad, macPadAddress);
    kernels.macBegin();
    const wholeBytes = sizeBytes & ~15;
    kernels.macUpdate(at, wholeBytes);
    kernels.macEnd(at + wholeBytes, sizeBytes - wholeBytes);
  };

  return {
    seal(at, plainBytes) {
      if (nextIv === ivs.length) {
        ivs = Uint8Array.from(random(ivBatchCount * ivBytes));
        pads = padCipher.update(ivs);
        nextIv = 0;
      }
      const iv = ivs.subarray(nextIv, nextIv + ivBytes);
      const pad = pads.subarray(nextIv, nextIv + ivBytes);
      nextIv += ivBytes;
      memory.set(iv, at);
      const body = at + ivBytes;
      encrypt(at, plainBytes);
      computeMac(pad, body, plainBytes);
      memory.copyWithin(body + plainBytes, macTagAddress, macTagAddress + macBytes);
      return plainBytes + overheadBytes;
    },
    open(at, sealedBytes) {
      const plainBytes = sealedBytes - overheadBytes;
      if (plainBytes < 0) throw damaged(`sealed bytes are too short: ${sealedBytes}`);
      const body = at + ivBytes;
      const iv = memory.subarray(at, body);
      computeMac(padCipher.update(iv), body, plainBytes);
      const end = body + plainBytes;
      if (!timingSafeEqual(memory.subarray(macTagAddress, macTagAddress + macBytes), memory.subarray(end, end + macBytes))) {
        throw damaged('sealed bytes do not match their MAC');
      }
      encrypt(at, plainBytes);
      return plainBytes;
    },
  };
}

const damaged = (message: string): HoldfastError => new HoldfastError('repository_damaged', message);
