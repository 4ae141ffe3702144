import type { RandomBytes } from './random-bytes.ts';

export const minChunkBytes = 512 * 1024;
export const maxChunkBytes = 8 * 1024 * 1024;

export interface Chunker {
  /**
   * The length of the chunk that begins at `start` of `buffer`, whose data ends at `end`; 0 when more data is needed
   * (keep the bytes from `start`, append, call again; a buffer with maxChunkBytes from `start` is always enough) or,
   * with `isLast`, when there is no data. `isLast`: the file ends at `end`.
   */
  cut(buffer: Uint8Array, start: number, end: number, isLast: boolean): number;
}

export declare function createChunker(polynomial: bigint): Chunker;
export declare function randomPolynomial(random: RandomBytes): bigint;
export declare function isIrreducible(polynomial: bigint): boolean;
