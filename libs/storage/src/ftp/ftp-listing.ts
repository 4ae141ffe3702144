import { posix } from 'node:path';
import { FTPError } from 'basic-ftp';
import { isObjectName } from '../object-name.ts';
import type { FtpConnection } from './ftp-connection.ts';
import type { FtpEntry } from './ftp-entry.ts';
import { meaningOfRefusal } from './ftp-error.ts';

/** What a put's file is called until it is whole; restic passes over any name that is no id. */
export const temporaryPrefix = '.tmp-';

/** Parts of an object's name: `data/<two hex>/<id>` has the most. */
const maxDepth = 3;

/**
 * The entries of a folder; undefined when there is none. A server says 550 to a folder that is not there and to one that may not be
 * entered, so the folder above is asked which of both it is. Rejects with the server's reply when the folder is there.
 */
export async function entriesOf(
  connection: FtpConnection,
  path: string,
  options?: { withHidden?: boolean },
): Promise<FtpEntry[] | undefined> {
  try {
    return await connection.list(path, options);
  } catch (error) {
    if (!(error instanceof FTPError) || !isRefusal(error)) throw error;
    if (await isThere(connection, path, error, 'folder')) throw error;
    return undefined;
  }
}

/**
 * Whether the file or folder that `refusal` was about is there all the same: by the server's words when they tell, else by the folder
 * above. What is there and of another kind than asked for counts for a folder as not there, for a file as there.
 */
export async function isThere(connection: FtpConnection, path: string, refusal: FTPError, kind: 'file' | 'folder'): Promise<boolean> {
  const meaning = meaningOfRefusal(refusal);
  if (meaning !== undefined) return meaning === 'denied';
  if (path === '/') return true;
  const above = await entriesOf(connection, posix.dirname(path));
  const found = above?.find(({ name }) => name === posix.basename(path));
  return found !== undefined && (kind === 'file' || found.kind === 'folder');
}

/** Whether a reply can mean that something is not there. */
export function isRefusal(error: FTPError): boolean {
  // 500 to 504: the command is not known.
  return error.code === 450 || (error.code > 504 && error.code !== 552);
}

interface Walk {
  /** Reads a folder, whose name ends with a slash or is empty; undefined when it is not there. */
  readonly read: (folder: string) => Promise<readonly FtpEntry[] | undefined>;
  /** Folders that are read at once. */
  readonly readCount: number;
}

export interface FoundFile {
  readonly name: string;
  readonly entry: FtpEntry;
}

interface ReadFolder {
  readonly folder: string;
  readonly entries: readonly FtpEntry[];
}

/** Files below `prefix` whose names `accept` takes. No session is held while the caller looks at one. */
export async function* walkFiles(prefix: string, walk: Walk, accept: (name: string) => boolean): AsyncIterable<FoundFile> {
  const waiting = [prefix];
  const reading = new Map<string, Promise<ReadFolder>>();
  const read = async (folder: string): Promise<ReadFolder> => ({ folder, entries: (await walk.read(folder)) ?? [] });
  for (;;) {
    for (const folder of waiting.splice(0, walk.readCount - reading.size)) reading.set(folder, read(folder));
    if (reading.size === 0) return;
    const { folder, entries } = await Promise.race(reading.values());
    reading.delete(folder);
    for (const entry of entries) {
      const name = `${folder}${entry.name}`;
      if (entry.kind === 'file' && accept(name)) yield { name, entry };
      // A link may lead to a folder on another disk.
      const mayBeFolder = (entry.kind === 'folder' || entry.kind === 'link') && isObjectName(entry.name);
      if (mayBeFolder && folder.split('/').length < maxDepth) waiting.push(`${name}/`);
    }
  }
}

export function isTemporaryName(name: string): boolean {
  return posix.basename(name).startsWith(temporaryPrefix);
}
