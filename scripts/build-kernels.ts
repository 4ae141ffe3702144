import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import asc from 'assemblyscript/asc';

/**
 * Compiles the kernels, which are committed so that nothing is built at install: `node scripts/build-kernels.ts` after a change of a source.
 * A test compares the committed bytes with new ones.
 */
export interface Kernel {
  /** From the root of the checkout; what it compiles to lies beside it. */
  readonly source: string;
  /** Where the compiler's own data begins: behind the addresses below it that the source laid out by hand, when it has such data. */
  readonly memoryBase: number;
}

export const kernels: readonly Kernel[] = [
  { source: 'libs/restic-format/src/kernels/kernels.as.ts', memoryBase: 8192 },
  { source: 'libs/sources/src/postgresql/base-backup/kernels/page-kernels.as.ts', memoryBase: 8 },
  { source: 'libs/sources/src/postgresql/logical/kernels/row-kernels.as.ts', memoryBase: 8 },
];

const root = join(import.meta.dirname, '..');
const flags = [
  '-O3',
  '--converge',
  '--noAssert',
  '--runtime=stub',
  '--importMemory',
  '--enable=simd',
  '--enable=bulk-memory',
  '--stackSize=0',
];

/** Absolute. */
export function outputOf({ source }: Kernel): string {
  return join(root, source.replace(/\.as\.ts$/u, '.wasm'));
}

/** The bytes of the module. Throws with the compiler's own output when the source does not compile. */
export async function compileKernel({ source, memoryBase }: Kernel): Promise<Uint8Array> {
  const name = basename(source);
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main([name, '--outFile=kernel.wasm', ...flags, `--memoryBase=${memoryBase}`], {
    readFile: async (asked: string) => (asked === name ? await readFile(join(root, source), 'utf8') : null),
    writeFile: (_name: string, contents: string | Uint8Array) => {
      binary = typeof contents === 'string' ? Buffer.from(contents) : contents;
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`${source} does not compile: ${stderr.toString()}`, { cause: error });
  return binary;
}

if (import.meta.main) for (const kernel of kernels) await writeFile(outputOf(kernel), await compileKernel(kernel));
