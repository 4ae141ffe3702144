import { join } from 'node:path';
import { readFile, writeFile } from 'node:fs/promises';

import asc from 'assemblyscript/asc';

/**
 * Compiles page-kernels.as.ts to page-kernels.wasm, which is committed so that nothing is built at install. After a change of the source:
 * `node libs/sources/src/postgresql/base-backup/kernels/build-page-kernels.ts`. A test compares the committed bytes with a new build.
 */
const compilerFlags = [
  '-O3',
  '--converge',
  '--noAssert',
  '--runtime=stub',
  '--importMemory',
  '--enable=simd',
  '--enable=bulk-memory',
  // There are none of the compiler's own data: the layout is made by hand.
  '--memoryBase=8',
  '--stackSize=0',
];

const source = 'page-kernels.as.ts';

/** The bytes of the compiled module. Throws with the compiler's own output when the source does not compile. */
export async function buildPageKernels(): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main([source, '--outFile=page-kernels.wasm', ...compilerFlags], {
    readFile: async (name: string) => (name === source ? await readFile(join(import.meta.dirname, name), 'utf8') : null),
    writeFile: (_name: string, contents: string | Uint8Array) => {
      binary = typeof contents === 'string' ? Buffer.from(contents) : contents;
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`${source} does not compile: ${stderr.toString()}`, { cause: error });
  return binary;
}

if (import.meta.main) await writeFile(join(import.meta.dirname, 'page-kernels.wasm'), await buildPageKernels());
