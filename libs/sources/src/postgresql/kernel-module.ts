import { readFileSync } from 'node:fs';

/** What kernels run on: addresses that they are told are offsets into it. */
export type KernelMemory = Uint8Array<ArrayBuffer>;

export interface KernelInstance<Kernels> {
  readonly kernels: Kernels;
  readonly memory: KernelMemory;
}

const pageBytes = 65_536;

// What is used of the global: its types come with the DOM's, which nothing else here needs.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: { env: { memory: object } }) => { readonly exports: unknown };
};

/**
 * Compiles a committed module once for the thread. What it gives makes instances, each with memory of its own, of `memoryBytes` and up to a
 * page more; an instance takes some 50 µs, and of its memory only what is touched counts. `Kernels`: the functions that the source exports.
 */
export function loadKernels<Kernels>(module: URL): (memoryBytes: number) => KernelInstance<Kernels> {
  const compiled = new WebAssembly.Module(readFileSync(module));
  return (memoryBytes) => {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(memoryBytes / pageBytes) });
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
    // oxlint-disable-next-line no-unsafe-type-assertion -- the module is ours: a test compiles it from the source that says so
    return { kernels: exports as Kernels, memory: new Uint8Array(memory.buffer) };
  };
}
