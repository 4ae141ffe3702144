import { readFileSync } from 'node:fs';

/** The functions of page-kernels.as.ts. Addresses are offsets into the instance's own memory. */
export interface PageKernels {
  crcPrepare(): void;
  crcUpdate(crc: number, at: number, sizeBytes: number): number;
  inspectPages(at: number, count: number, startHigh: number, startLow: number, out: number): number;
}

/** Where the kernels write and look; page-kernels.as.ts has the same numbers. */
export const foundAddress = 32_768;
export const pieceAddress = 65_536;

const memoryPageBytes = 65_536;

// What is used of the global: its types come with the DOM's, which nothing else here needs.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: { env: { memory: object } }) => { readonly exports: PageKernels };
};

// Compiled once for the thread.
const compiled = new WebAssembly.Module(readFileSync(new URL('page-kernels.wasm', import.meta.url)));

/** A new instance with its own memory, of which `pieceBytes` from pieceAddress belong to the caller. */
export function instantiatePageKernels(pieceBytes: number): { kernels: PageKernels; memory: Uint8Array<ArrayBuffer> } {
  const memory = new WebAssembly.Memory({ initial: Math.ceil((pieceAddress + pieceBytes) / memoryPageBytes) });
  const { exports: kernels } = new WebAssembly.Instance(compiled, { env: { memory } });
  kernels.crcPrepare();
  return { kernels, memory: new Uint8Array(memory.buffer) };
}
