import { programOutput } from '../program-output.ts';
import type { ClientPrograms } from './client-programs.ts';
import { mysqlPlace, type MysqlConnectionOptions } from './connection-options.ts';
import { programError } from './mysql-error.ts';
import { writeOptionFile } from './option-file.ts';

export interface ProgramRun {
  readonly programs: ClientPrograms;
  readonly program: 'dump' | 'client';
  readonly connection: MysqlConnectionOptions;
  /** Nothing secret: everybody on the machine sees them. */
  readonly args: readonly string[];
  /** Lines of its option file, for what is too long for arguments. */
  readonly optionLines?: readonly string[];
  /** What it reads. */
  readonly input?: AsyncIterable<Uint8Array>;
  /** Where its option file lies: a folder that is swept when the worker is killed. Default the temporary one. */
  readonly scratch?: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * What a program writes to its standard output. Ends the program when the reader stops, or the signal. It is whole only when the
 * generator ended by itself. Codes: mysql_*, with the program's own words in the message.
 */
export async function* runProgram(run: ProgramRun): AsyncGenerator<Buffer, void, undefined> {
  const { programs, program, connection, args, signal, input } = run;
  await using options = await writeOptionFile(programs, connection, { lines: run.optionLines, scratch: run.scratch });
  // No file of an account is looked for.
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', HOME: '/nonexistent', MYSQL_TEST_LOGIN_FILE: '/nonexistent' };
  const command = programs[program];
  const { code, complaint } = yield* programOutput({ command, args: [`--defaults-file=${options.path}`, ...args], env, input, signal });
  if (code !== 0) throw programError(command, mysqlPlace(connection), { code, complaint });
}
