import { readFile, stat } from 'node:fs/promises';
import { errnoCode } from '@holdfast/errors/errno-code';

/**
 * The names of users and groups, as /etc/passwd and /etc/group tell them. Names that only a directory service knows are not
 * there; a backup then holds the numbers alone, which is what a recovery goes by.
 */
export interface OwnerNames {
  readonly users: ReadonlyMap<number, string>;
  readonly groups: ReadonlyMap<number, string>;
}

export async function loadOwnerNames(): Promise<OwnerNames> {
  const [users, groups] = await Promise.all([namesIn('/etc/passwd'), namesIn('/etc/group')]);
  return { users, groups };
}

/** What a file said when it was read last; a process that makes many backups reads it again only when it has changed. */
interface ReadNames {
  readonly stamp: string;
  readonly names: ReadonlyMap<number, string>;
}

const readBefore = new Map<string, ReadNames>();

async function namesIn(path: string): Promise<ReadonlyMap<number, string>> {
  const stamp = await stampOf(path);
  const known = readBefore.get(path);
  if (known?.stamp === stamp) return known.names;
  const names = parseOwnerNames(await readIfThere(path));
  readBefore.set(path, { stamp, names });
  return names;
}

/** Differs when the file has changed since. */
async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return 'none';
    throw error;
  }
}

/** Lines of `name:password:number:…`; the first name of a number counts, as in getpwuid(3). */
export function parseOwnerNames(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name, , number] = line.split(':');
    if (name === undefined || name === '' || name.startsWith('#') || number === undefined || !/^\d+$/.test(number)) continue;
    if (!names.has(Number(number))) names.set(Number(number), name);
  }
  return names;
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return '';
    throw error;
  }
}
