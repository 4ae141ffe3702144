import { runProgram } from '../run-program.ts';
import { clientArguments, type StatementPlace } from '../statements.ts';
import type { PartFiles } from './part-files.ts';

export interface ScriptLoad {
  readonly place: StatementPlace;
  readonly files: PartFiles;
  readonly path: string;
  /** In which it is run. */
  readonly database: string;
  readonly onBytes: (bytes: number) => void;
}

/** Runs a file of a backup in a database; ends at the first statement that fails. Codes: mysql_*, those of the files. */
export async function loadScript({ place, files, path, database, onBytes }: ScriptLoad): Promise<void> {
  const args = [...clientArguments, `--database=${database}`];
  const run = runProgram({ ...place, program: 'client', args, input: counted(files.read(path), onBytes) });
  // What statements answer is of no use.
  for (let next = await run.next(); next.done !== true; next = await run.next());
}

async function* counted(pieces: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of pieces) {
    yield piece;
    onBytes(piece.length);
  }
}
