import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';

/** A stock restic for interop tests, with its repository and an environment of its own. */
export interface ResticProgram {
  readonly version: string;
  /** Runs it to its end and gives what it printed. Rejects when it fails. */
  run(repository: string, args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<string>;
  /** Starts it and leaves it running; the caller ends it. */
  start(repository: string, args: readonly string[]): ChildProcess;
}

export const resticPassword = 'interop';

/** Where the two versions are that every interop test runs: the one on PATH, and a newer one by its own variable. */
const commands = { path: 'restic', newer: process.env['RESTIC_NEWER_BIN'] };

/** Null when there is none; an error when CI is set, where a missing program would hide a broken format. */
export function findRestic(which: keyof typeof commands): ResticProgram | null {
  const command = commands[which];
  const version = command === undefined ? null : versionOf(command);
  if (command === undefined || version === null) {
    if (process.env['CI']) throw new Error(which === 'path' ? 'restic is not on PATH' : 'RESTIC_NEWER_BIN names no restic');
    return null;
  }
  const environmentFor = (repository: string): NodeJS.ProcessEnv => ({
    ...process.env,
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD: resticPassword,
  });
  return {
    version,
    async run(repository, args, environment = {}) {
      const env = { ...environmentFor(repository), ...environment };
      const { stdout } = await promisify(execFile)(command, ['--no-cache', ...args], { env, maxBuffer: 64 * 1024 * 1024 });
      return stdout;
    },
    start: (repository, args) =>
      spawn(command, ['--no-cache', ...args], { env: environmentFor(repository), stdio: ['pipe', 'ignore', 'inherit'] }),
  };
}

function versionOf(command: string): string | null {
  try {
    return /^restic (\S+)/.exec(execFileSync(command, ['version'], { encoding: 'utf8' }))?.[1] ?? null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
