import { readFile } from 'node:fs/promises';
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
  return { users: parseOwnerNames(await readIfThere('/etc/passwd')), groups: parseOwnerNames(await readIfThere('/etc/group')) };
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
