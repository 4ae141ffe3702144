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
/** A name may come between a refusal and a look at the folder; not time after time. */
const maxTryCount = 3;

/** The entries of a folder; undefined when there is none. Rejects with the server's reply when it is there and may not be read. */
export async function entriesOf(
  connection: FtpConnection,
  path: string,
  options?: { withHidden?: boolean },
): Promise<FtpEntry[] | undefined> {
  return unlessMissing(connection, path, 'folder', () => connection.list(path, options));
}

/**
 * What `work` on a file or folder gives; undefined when that is not there. A server says 550 to what is not there and to what may not be
 * touched. When its words do not tell, the folder above is asked. What is there then may have come since, so it is tried again; who is
 * refused again and again is denied, and hears the server's reply.
 */
export async function unlessMissing<T>(
  connection: FtpConnection,
  path: string,
  kind: 'file' | 'folder',
  work: () => Promise<T>,
): Promise<T | undefined> {
  for (let tryCount = 1; ; tryCount += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof FTPError) || !isRefusal(error)) throw error;
      const meaning = meaningOfRefusal(error);
      if (meaning === 'missing') return undefined;
      if (meaning === 'denied' || path === '/' || tryCount === maxTryCount) throw error;
      const above = await entriesOf(connection, posix.dirname(path));
      const found = above?.find(({ name }) => name === posix.basename(path));
      // What is no folder is passed over where a folder is asked for; in an object's place it is in the way.
      if (found === undefined || (kind === 'folder' && found.kind !== 'folder')) return undefined;
    }
  }
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
