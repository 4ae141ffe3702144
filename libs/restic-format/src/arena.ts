import { maxChunkBytes, minChunkBytes } from './chunker.ts';
import { instantiateKernels, windowAddress, type Kernels } from './kernels/kernels.ts';

/**
 * Cutting, sealing (arena-cipher.ts) and hashing (sha256-lanes.ts) inside one piece of WebAssembly memory: whoever reads files into it
 * and compresses within it never copies. The results are those of Chunker and Cipher, bit for bit. Addresses are offsets into `memory`.
 * Not for two threads.
 */
export interface Arena {
  readonly memory: Uint8Array<ArrayBuffer>;
  /** From here on `memory` is the caller's; below it are the kernels' tables and what sealing needs. */
  readonly firstAddress: number;
  readonly kernels: Kernels;
}

/** Of arena-cipher.ts: counters that are encrypted in one call. They and what they mask stay in the processor's cache. */
export const keystreamAddress = windowAddress;
export const keystreamBytes = 64 * 1024;
/** IVs are drawn, and IVs that are read are encrypted, this many at a time. */
export const sealBatchCount = 256;
const batchBytes = sealBatchCount * 16;
export const ivAddress = keystreamAddress + keystreamBytes;
export const padAddress = ivAddress + batchBytes;
export const readPadAddress = padAddress + batchBytes;
const firstAddress = readPadAddress + batchBytes;

/** A memory with `sizeBytes` for the caller. It is all zero, and takes room only where it is written to. */
export function openArena(sizeBytes: number): Arena {
  const { kernels, memory } = instantiateKernels(firstAddress - windowAddress + sizeBytes);
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
