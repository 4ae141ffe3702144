import { spawn } from 'node:child_process';

export interface ProgramOutputOptions {
  /** Absolute, or a name that is looked for on the PATH of `env`. */
  readonly command: string;
  /** Nothing secret: everybody on the machine sees them. */
  readonly args: readonly string[];
  /** All that it gets: nothing of ours is in its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What it reads; nothing when not given. */
  readonly input?: AsyncIterable<Uint8Array> | undefined;
  readonly signal: AbortSignal;
}

export interface ProgramEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  /** The end of what it wrote to its standard error. */
  readonly complaint: string;
}

/** The end of what a failed program said. */
const maxComplaintLength = 2_000;

/**
 * What a program writes to its standard output; gives how it ended, which is for the caller to judge: what came is whole only then. The
 * program is killed when the reader stops, when its input fails, and by the signal, whose reason is thrown; none is left behind.
 */
export async function* programOutput(options: ProgramOutputOptions): AsyncGenerator<Buffer, ProgramEnd, undefined> {
  const { command, args, env, input, signal } = options;
  signal.throwIfAborted();
  const child = spawn(command, [...args], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...env }, cwd: '/' });
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
    signal.throwIfAborted();
    return { code, complaint };
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
