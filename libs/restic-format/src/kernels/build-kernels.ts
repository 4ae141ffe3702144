import { join } from 'node:path';
import { readFile, writeFile } from 'node:fs/promises';

import asc from 'assemblyscript/asc';

/**
 * Compiles kernels.as.ts to kernels.wasm, which is committed so that nothing is built at install. After a change of the source:
 * `node libs/restic-format/src/kernels/build-kernels.ts`. A test compares the committed bytes with a new build.
 */
const compilerFlags = [
  '-O3',
  '--converge',
  '--noAssert',
  '--runtime=stub',
  '--importMemory',
  '--enable=simd',
  '--enable=bulk-memory',
  // The compiler's own data begins after the hand-made layout; the format's kernels have none.
  '--memoryBase=8192',
  '--stackSize=0',
];

/** The bytes of the compiled module. Throws with the compiler's own output when the source does not compile. */
export async function buildKernels(): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(['kernels.as.ts', '--outFile=kernels.wasm', ...compilerFlags], {
    readFile: async (name: string) => (name === 'kernels.as.ts' ? await readFile(join(import.meta.dirname, name), 'utf8') : null),
    writeFile: (_name: string, contents: string | Uint8Array) => {
      binary = typeof contents === 'string' ? Buffer.from(contents) : contents;
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`kernels.as.ts does not compile: ${stderr.toString()}`, { cause: error });
  return binary;
}

if (import.meta.main) await writeFile(join(import.meta.dirname, 'kernels.wasm'), await buildKernels());
