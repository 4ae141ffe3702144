import { readFileSync } from 'node:fs';

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

const pageBytes = 65_536;

// What is used of the global: its types come with the DOM's, which nothing else here needs.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: { env: { memory: object } }) => { readonly exports: RowKernels };
};

// Compiled once for the thread; an instance takes some 50 µs and its own memory, of which only what is touched counts.
const compiled = new WebAssembly.Module(readFileSync(new URL('row-kernels.wasm', import.meta.url)));

/** A new instance with its own memory, of which `windowBytes` from windowAddress belong to the caller. */
export function instantiateRowKernels(windowBytes: number): { kernels: RowKernels; memory: Uint8Array<ArrayBuffer> } {
  const memory = new WebAssembly.Memory({ initial: Math.ceil((windowAddress + windowBytes) / pageBytes) });
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  return { kernels: instance.exports, memory: new Uint8Array(memory.buffer) };
}
