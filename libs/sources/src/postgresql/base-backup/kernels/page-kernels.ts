import { loadKernels, type KernelInstance } from '../../kernel-module.ts';

/** The functions of page-kernels.as.ts. Addresses are offsets into the instance's own memory. */
export interface PageKernels {
  crcPrepare(): void;
  crcUpdate(crc: number, at: number, sizeBytes: number): number;
  inspectPages(at: number, count: number, startHigh: number, startLow: number, out: number): number;
}

/** Where the kernels write and look; page-kernels.as.ts has the same numbers. */
export const foundAddress = 32_768;
export const pieceAddress = 65_536;

const instantiate = loadKernels<PageKernels>(new URL('page-kernels.wasm', import.meta.url));

/** A new instance, of whose memory `pieceBytes` from pieceAddress belong to the caller. */
export function instantiatePageKernels(pieceBytes: number): KernelInstance<PageKernels> {
  const instance = instantiate(pieceAddress + pieceBytes);
  instance.kernels.crcPrepare();
  return instance;
}
