import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The programs that dump a server and run statements at it, those of MariaDB or of MySQL. */
export interface ClientPrograms {
  /** Absolute. */
  readonly dump: string;
  readonly client: string;
  readonly family: 'mariadb' | 'mysql';
  /** `10.11.19` */
  readonly version: string;
}

export interface ProgramPlaces {
  /** HOLDFAST_MYSQL_BIN: folders that are looked at alone when they are given. */
  readonly binFolders?: readonly string[] | undefined;
  readonly path?: string | undefined;
}

const pairs = [
  { dump: 'mariadb-dump', client: 'mariadb' },
  { dump: 'mysqldump', client: 'mysql' },
] as const;

/** A program that does not even say its version within this is none. */
const versionTimeoutMs = 5_000;

/** The first folder that has both programs, under MariaDB's names before MySQL's. Code: mysql_tool_missing. */
export async function findClientPrograms({ binFolders = [], path = process.env['PATH'] ?? '' }: ProgramPlaces): Promise<ClientPrograms> {
  const folders = binFolders.length > 0 ? binFolders : path.split(':').filter((folder) => folder.startsWith('/'));
  for (const names of pairs) {
    for (const folder of folders) {
      const [dump, client] = [join(folder, names.dump), join(folder, names.client)];
      if (!(await isProgram(dump)) || !(await isProgram(client))) continue;
      const about = await versionOf(dump);
      if (about !== null) return { dump, client, ...about };
    }
  }
  throw new HoldfastError('mysql_tool_missing', 'neither mariadb-dump and mariadb nor mysqldump and mysql are installed at the worker', {
    hint: 'install them at the worker (Debian: mariadb-client), or name their folder in HOLDFAST_MYSQL_BIN',
  });
}

async function isProgram(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** `mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for …`, `mysqldump  Ver 8.0.36 for Linux …`. */
async function versionOf(program: string): Promise<Pick<ClientPrograms, 'family' | 'version'> | null> {
  try {
    const { stdout } = await promisify(execFile)(program, ['--no-defaults', '--version'], { timeout: versionTimeoutMs, env: {} });
    const version = /(?:Distrib|from|Ver) (\d+\.\d+\.\d+)/u.exec(stdout)?.[1];
    if (version === undefined) return null;
    return { family: stdout.includes('MariaDB') ? 'mariadb' : 'mysql', version };
  } catch (error) {
    // One that cannot be run is none: another folder may have a better one, and if not, the error says that there is none.
    if (error instanceof Error) return null;
    throw error;
  }
}
