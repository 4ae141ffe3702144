import { HoldfastError } from '@holdfast/errors/holdfast-error';

import { instantiateKernels, windowAddress } from './kernels/kernels.ts';
import type { RandomBytes } from './random-bytes.ts';

/**
 * Content-defined chunks, cut where restic cuts: a chunk ends after the first byte, from the minimum length on, at which the Rabin
 * fingerprint of the last 64 bytes has 20 zero bits at its end; at the maximum length at the latest. The fingerprint is the remainder
 * of those bytes, read as a polynomial over GF(2), by the repository's own irreducible polynomial of degree 53: whoever does not
 * know it cannot tell from the sizes of chunks which public file they hold.
 */

/** No cut before this: smaller files are one chunk. */
export const minChunkBytes = 512 * 1024;
/** A cut here at the latest. A buffer of this size always suffices for `cut`. */
export const maxChunkBytes = 8 * 1024 * 1024;

const rabinWindowBytes = 64;
const degree = 53;

/** Bytes that are scanned at once, in four lanes: small enough to lose little when the cut is in the first of them. */
const scanBytes = 64 * 1024;

/** Finds cuts. It owns its memory, so one belongs to one thread; it keeps nothing between calls. */
export interface Chunker {
  /**
   * The length of the chunk that begins at `start` of `buffer`, where the data ends at `end`. 0 means that more data is needed (keep
   * the bytes from `start`, append some, call again) or, with `isLast`, that no byte is left. `isLast`: the file ends at `end`.
   */
  cut(buffer: Uint8Array, start: number, end: number, isLast: boolean): number;
}

/**
 * Cuts every `chunkBytes` (at most maxChunkBytes), for files that change in place: a changed page costs its own chunk, where a cut by content
 * would be lost with it. Any reader of the format takes chunks of any length.
 */
export function createFixedChunker(chunkBytes: number): Chunker {
  return {
    cut(_buffer, start, end, isLast) {
      const available = end - start;
      return available >= chunkBytes ? chunkBytes : isLast ? available : 0;
    },
  };
}

/** A chunker for a repository's own polynomial. Errors: repository_damaged when it is not irreducible of degree 53. */
export function createChunker(polynomial: bigint): Chunker {
  if (degreeOf(polynomial) !== degree || !isIrreducible(polynomial)) {
    throw new HoldfastError('repository_damaged', 'the chunker polynomial is not irreducible of degree 53');
  }
  const { kernels, memory } = instantiateKernels(rabinWindowBytes + scanBytes);
  kernels.chunkSetPolynomial(polynomial);
  const scanAddress = windowAddress + rabinWindowBytes;

  /** The first cut after a byte of [from, to) of `buffer`, as the position behind that byte; 0 when there is none. */
  const firstCut = (buffer: Uint8Array, from: number, to: number): number => {
    for (let at = from; at < to; at += scanBytes) {
      const size = Math.min(scanBytes, to - at);
      memory.set(buffer.subarray(at - rabinWindowBytes, at + size), windowAddress);
      const laneBytes = size >>> 2;
      const inLanes = laneBytes * 4;
      const hit = kernels.chunkScan(scanAddress, laneBytes);
      if (hit > 0) return at + hit;
      const restHit = kernels.chunkScanRest(scanAddress + inLanes, size - inLanes);
      if (restHit > 0) return at + inLanes + restHit;
    }
    return 0;
  };

  return {
    cut(buffer, start, end, isLast) {
      const available = end - start;
      if (available >= minChunkBytes) {
        const limit = Math.min(available, maxChunkBytes);
        const cut = firstCut(buffer, start + minChunkBytes - 1, start + limit);
        if (cut > 0) return cut - start;
        if (limit === maxChunkBytes) return maxChunkBytes;
      }
      return isLast ? available : 0;
    },
  };
}

/** A random irreducible polynomial of degree 53, for a new repository. About 1 in 27 candidates is one. */
export function randomPolynomial(random: RandomBytes): bigint {
  // 64 bits are drawn and cut to 53; the constant term is set, or x would be a factor. 4000 misses have a chance below 10^-60.
  for (let tries = 0; tries < 4000; tries++) {
    const drawn = Buffer.from(random(8)).readBigUInt64LE();
    const candidate = (drawn & ((1n << 53n) - 1n)) | (1n << 53n) | 1n;
    if (isIrreducible(candidate)) return candidate;
  }
  throw new HoldfastError('internal', 'the random source gave no irreducible polynomial');
}

/**
 * Whether a polynomial over GF(2), bit i the coefficient of x^i, has no factor but itself and 1. Ben-Or's test: a polynomial f of
 * degree n is irreducible when it has no common factor with x^(2^i) − x for every i up to n/2, since those hold all factors of degree i.
 */
export function isIrreducible(polynomial: bigint): boolean {
  const n = degreeOf(polynomial);
  if (n < 1) return false;
  let power = remainder(2n, polynomial);
  for (let i = 1; i <= n >>> 1; i++) {
    power = remainder(square(power), polynomial);
    if (greatestCommonDivisor(polynomial, power ^ remainder(2n, polynomial)) !== 1n) return false;
  }
  return true;
}

function degreeOf(polynomial: bigint): number {
  return polynomial <= 0n ? -1 : polynomial.toString(2).length - 1;
}

/** Squaring over GF(2) spreads the bits: no mixed terms are left. */
function square(polynomial: bigint): bigint {
  return BigInt(`0b${polynomial.toString(2).split('').join('0')}`);
}

function remainder(dividend: bigint, divisor: bigint): bigint {
  const divisorDegree = degreeOf(divisor);
  let rest = dividend;
  for (let d = degreeOf(rest); d >= divisorDegree; d = degreeOf(rest)) rest ^= divisor << BigInt(d - divisorDegree);
  return rest;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [larger, smaller] = [a, b];
  while (smaller !== 0n) [larger, smaller] = [smaller, remainder(larger, smaller)];
  return larger;
}
