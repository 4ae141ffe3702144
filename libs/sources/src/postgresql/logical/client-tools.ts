import { execFile } from 'node:child_process';
import { readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * Which pg_dump, pg_dumpall and psql are used: a pg_dump refuses a server that is newer than itself, and one that is newer than the
 * server may write what that server does not understand. So: the oldest that is new enough.
 */
export interface ClientTools {
  readonly folder: string;
  readonly major: number;
  /** Their versions since August 2025 put a key into each dump, which can be given; random ones would make every dump a new one. */
  readonly takesRestrictKey: boolean;
}

export interface FoundTools {
  readonly folder: string;
  readonly major: number;
  readonly minor: number;
}

/** Where packages put them beside the PATH: Debian, Red Hat, SUSE, Homebrew. */
const packageFolders = [
  ['/usr/lib/postgresql', /^\d+$/u, 'bin'],
  ['/usr', /^pgsql-\d+$/u, 'bin'],
  ['/usr/lib', /^postgresql\d+$/u, 'bin'],
  ['/opt/homebrew/opt', /^postgresql@\d+$/u, 'bin'],
  ['/usr/local/opt', /^postgresql@\d+$/u, 'bin'],
] as const;

/** A program that does not even say its version within this is none. */
const versionTimeoutMs = 5_000;
const run = promisify(execFile);

export interface ToolPlaces {
  /** HOLDFAST_POSTGRESQL_BIN: folders with colons between them; looked at alone when it is given. */
  readonly binFolders?: readonly string[] | undefined;
  readonly path?: string | undefined;
}

/** The tools that dump a server of this major version. Code: postgresql_tool_missing, which names the package. */
export async function findClientTools(serverMajor: number, places: ToolPlaces): Promise<ClientTools> {
  return await describe(chooseTools(serverMajor, await foundTools(places)));
}

/** Those that only run scripts, which an older psql does for a newer server too. Code: postgresql_tool_missing, when there are none. */
export async function findScriptTools(serverMajor: number, places: ToolPlaces): Promise<ClientTools> {
  const found = await foundTools(places);
  const newest = Math.max(0, ...found.map(({ major }) => major));
  return await describe(chooseTools(newest === 0 ? serverMajor : Math.min(serverMajor, newest), found));
}

async function describe({ folder, major }: FoundTools): Promise<ClientTools> {
  const { stdout } = await run(join(folder, 'pg_dump'), ['--help'], { timeout: versionTimeoutMs, env: {} });
  return { folder, major, takesRestrictKey: stdout.includes('--restrict-key') };
}

async function foundTools({ binFolders = [], path = process.env['PATH'] ?? '' }: ToolPlaces): Promise<FoundTools[]> {
  const onPath = path.split(':').filter((folder) => folder.startsWith('/'));
  const isChosen = binFolders.length > 0;
  const folders = isChosen ? binFolders : [...onPath, ...(await foldersOfPackages())];
  const found = await Promise.all(
    [...new Set(folders)].map(async (folder) => (isChosen || !(await isWrapper(folder)) ? await toolsIn(folder) : null)),
  );
  return found.flatMap((tools) => tools ?? []);
}

/** Code: postgresql_tool_missing. */
export function chooseTools(serverMajor: number, found: readonly FoundTools[]): FoundTools {
  const usable = found.filter(({ major }) => major >= serverMajor).toSorted((a, b) => a.major - b.major || b.minor - a.minor);
  const [best] = usable;
  if (best !== undefined) return best;
  const newest = Math.max(0, ...found.map(({ major }) => major));
  const what = newest === 0 ? 'no pg_dump is installed at the worker' : `the newest pg_dump at the worker is ${newest}`;
  throw new HoldfastError('postgresql_tool_missing', `${what}, and the server is PostgreSQL ${serverMajor}`, {
    hint:
      `install the client tools of PostgreSQL ${serverMajor} or newer at the worker (Debian: postgresql-client-${serverMajor} from ` +
      `apt.postgresql.org), or name their folder in HOLDFAST_POSTGRESQL_BIN`,
  });
}

/** Null when there is no pg_dump that runs, or psql and pg_dumpall are not beside it. */
async function toolsIn(folder: string): Promise<FoundTools | null> {
  const names = await namesIn(folder);
  if (!['pg_dump', 'pg_dumpall', 'psql'].every((name) => names.includes(name))) return null;
  const version = await versionOf(join(folder, 'pg_dump'));
  return version === null ? null : { folder, ...version };
}

/**
 * Debian's /usr/bin/pg_dump is a script that takes a tenth of a second to start one of those in /usr/lib/postgresql, of which it decides
 * itself which; they are found without it.
 */
async function isWrapper(folder: string): Promise<boolean> {
  try {
    return basename(await realpath(join(folder, 'pg_dump'))) === 'pg_wrapper';
  } catch (error) {
    if (missingSchema.safeParse(error).success) return false;
    throw error;
  }
}

/** `pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`. */
async function versionOf(program: string): Promise<{ major: number; minor: number } | null> {
  try {
    const { stdout } = await run(program, ['--version'], { timeout: versionTimeoutMs, env: {} });
    const [, major, minor] = /\(PostgreSQL\) (\d+)(?:\.(\d+))?/u.exec(stdout) ?? [];
    return major === undefined ? null : { major: Number(major), minor: Number(minor ?? 0) };
  } catch (error) {
    // One that cannot be run is none: another folder may have a better one, and if not, the error says that there is none.
    if (error instanceof Error) return null;
    throw error;
  }
}

async function foldersOfPackages(): Promise<string[]> {
  const folders: string[] = [];
  for (const [parent, pattern, bin] of packageFolders) {
    for (const name of await namesIn(parent)) if (pattern.test(name)) folders.push(join(parent, name, bin));
  }
  return folders;
}

const missingSchema = z.object({ code: z.enum(['ENOENT', 'ENOTDIR', 'EACCES']) });

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (missingSchema.safeParse(error).success) return [];
    throw error;
  }
}
