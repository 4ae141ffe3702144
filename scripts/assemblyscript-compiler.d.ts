/**
 * The part of the AssemblyScript compiler that build-kernels.ts calls. The compiler's own declarations redeclare globals
 * (`console`, number types) for the whole program, so tsconfig.json maps them to this file.
 */
interface CompilerHost {
  readFile(name: string, baseDir: string): Promise<string | null> | string | null;
  writeFile(name: string, contents: string | Uint8Array, baseDir: string): Promise<void> | void;
  listFiles(folder: string, baseDir: string): readonly string[] | null;
}

interface CompilerResult {
  readonly error: Error | null;
  readonly stderr: { toString(): string };
}

declare const compiler: {
  main(args: readonly string[], host: CompilerHost): Promise<CompilerResult>;
};

export default compiler;
