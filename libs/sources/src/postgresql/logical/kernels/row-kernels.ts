import { loadKernels, type KernelInstance } from '../../kernel-module.ts';

/** The functions of row-kernels.as.ts. Addresses are offsets into the instance's own memory. */
export interface RowKernels {
  beginRows(key: bigint): void;
  takeRows(at: number, end: number, to: number): number;
}

/** Where takeRows says what it has found, as words of four bytes; row-kernels.as.ts has the same numbers. */
export const stoppedAtAddress = 1024;
export const chosenCountAddress = 1028;
export const chosenAddress = 2048;
/** A longer row is taken in parts. */
export const longRowBytes = 32_768;
/** From here on the memory is the caller's. */
export const windowAddress = 65_536;

const instantiate = loadKernels<RowKernels>(new URL('row-kernels.wasm', import.meta.url));

/** A new instance, of whose memory `windowBytes` from windowAddress belong to the caller. */
export function instantiateRowKernels(windowBytes: number): KernelInstance<RowKernels> {
  return instantiate(windowAddress + windowBytes);
}
