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
  for (const [name, id] of ownersIn(text)) if (!names.has(id)) names.set(id, name);
  return names;
}

function* ownersIn(text: string): Generator<[name: string, id: number]> {
  for (const line of text.split('\n')) {
    const [name, , number] = line.split(':');
    if (name === undefined || name === '' || name.startsWith('#') || number === undefined || !/^\d+$/.test(number)) continue;
    yield [name, Number(number)];
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return '';
    throw error;
  }
}

/** The numbers of users and groups by name, as the same files tell them. */
export interface OwnerIds {
  readonly users: ReadonlyMap<string, number>;
  readonly groups: ReadonlyMap<string, number>;
}

export async function loadOwnerIds(): Promise<OwnerIds> {
  const [users, groups] = await Promise.all([readIfThere('/etc/passwd'), readIfThere('/etc/group')]);
  return { users: parseOwnerIds(users), groups: parseOwnerIds(groups) };
}

/** The first number of a name counts, as in getpwnam(3). */
function parseOwnerIds(text: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [name, id] of ownersIn(text)) if (!ids.has(name)) ids.set(name, id);
  return ids;
}
