import { readFileSync } from 'node:fs';

/** The functions of kernels.as.ts. Addresses are offsets into the instance's own memory. */
export interface Kernels {
  macSetKey(): void;
  macBegin(): void;
  macUpdate(at: number, sizeBytes: number): void;
  macEnd(at: number, sizeBytes: number): void;
  copyBlock(from: number, to: number): void;
  /** 1 or 0. Takes as long for all that differ. */
  isSameBlock(a: number, b: number): number;
  counterBlocks(iv: number, at: number, count: number): void;
  mask(at: number, key: number, sizeBytes: number, to: number): void;
  chunkSetPolynomial(polynomial: bigint): void;
  chunkScan(at: number, laneBytes: number): number;
  chunkScanRest(at: number, sizeBytes: number): number;
}

/** Where the kernels look; kernels.as.ts has the same numbers. */
export const macKeyAddress = 5120;
export const macPadAddress = 5136;
export const macTagAddress = 5152;
export const windowAddress = 65_536;
/** The piece of macUpdate that takes the fast path. */
export const macPieceBytes = 32_768;

const pageBytes = 65_536;

// What is used of the global: its types come with the DOM's, which nothing else here needs.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: { env: { memory: object } }) => { readonly exports: Kernels };
};

// Compiled once for the thread; an instance takes some 50 µs and its own memory.
const compiled = new WebAssembly.Module(readFileSync(new URL('kernels.wasm', import.meta.url)));

/** A new instance with its own memory, of which `windowBytes` from windowAddress belong to the caller. */
export function instantiateKernels(windowBytes: number): { kernels: Kernels; memory: Uint8Array<ArrayBuffer> } {
  const memory = new WebAssembly.Memory({ initial: Math.ceil((windowAddress + windowBytes) / pageBytes) });
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  return { kernels: instance.exports, memory: new Uint8Array(memory.buffer) };
}
