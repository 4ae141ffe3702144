import { spawn } from 'node:child_process';
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

/** The end of what a failed program said. */
const maxComplaintLength = 2_000;

/**
 * What a program writes to its standard output. Ends the program when the reader stops, or the signal. It is whole only when the
 * generator ended by itself. Codes: mysql_*, with the program's own words in the message.
 */
export async function* runProgram(run: ProgramRun): AsyncGenerator<Buffer, void, undefined> {
  const { programs, program, connection, args, signal, input } = run;
  await using options = await writeOptionFile(programs, connection, { lines: run.optionLines, scratch: run.scratch });
  signal.throwIfAborted();
  // Nothing of ours is in its environment, and no file of an account is looked for.
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', HOME: '/nonexistent', MYSQL_TEST_LOGIN_FILE: '/nonexistent' };
  const child = spawn(programs[program], [`--defaults-file=${options.path}`, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env, cwd: '/' });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-maxComplaintLength)));
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | null>();
  child.on('error', reject).on('close', resolve);
  // Waited for below, in every case; until then its failure has nobody.
  ended.catch(() => undefined);
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  const fed = feed(child.stdin, input);
  fed.catch(kill);
  try {
    // oxlint-disable-next-line no-unsafe-type-assertion -- without an encoding a stream gives Buffers
    for await (const chunk of child.stdout) yield chunk as Buffer;
    await Promise.race([fed, ended]);
    const code = await ended;
    if (code !== 0) throw programError(programs[program], mysqlPlace(connection), { code, complaint });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    await Promise.allSettled([ended, fed]);
  }
}

/** A program that has ended takes no more: how it ended says what went wrong. */
async function feed(stdin: NodeJS.WritableStream, input: AsyncIterable<Uint8Array> = noInput()): Promise<void> {
  let isBroken = false;
  stdin.on('error', () => (isBroken = true));
  for await (const chunk of input) {
    if (isBroken) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    stdin.write(chunk, () => resolve());
    await promise;
  }
  stdin.end();
}

async function* noInput(): AsyncGenerator<Uint8Array> {}
