import { posix } from 'node:path';
import type { Stats } from 'ssh2';
import { isObjectName } from '../object-name.ts';
import type { StoredObject } from '../storage.ts';
import { sftpStatus, statusOf } from './sftp-error.ts';
import type { SftpHandle, SftpSession } from './sftp-session.ts';

/** Parts of an object's name: `data/<two hex>/<id>` has the most. */
const maxDepth = 3;

/** What one folder holds: files by their whole names, and folders with a slash at their end in which there may be more. */
export interface FolderContents {
  readonly files: readonly StoredObject[];
  readonly folders: readonly string[];
}

/** Makes a folder and those above it that are missing, durably where the server can. One that somebody else makes meanwhile is no error. */
export async function makeFolders(session: SftpSession, folder: string): Promise<void> {
  try {
    await makeFolder(session, folder);
  } catch (error) {
    const above = posix.dirname(folder);
    if (statusOf(error) === undefined || above === folder) throw error;
    if (!(await isFolder(session, above))) await makeFolders(session, above);
    await makeFolder(session, folder);
  }
}

async function makeFolder(session: SftpSession, folder: string): Promise<void> {
  try {
    await session.makeFolder(folder);
  } catch (error) {
    // Whether a folder is there, or the one above it is not, servers tell by several statuses.
    if (statusOf(error) === undefined || !(await isFolder(session, folder))) throw error;
    return;
  }
  await withFolderSynced(session, posix.dirname(folder), () => Promise.resolve());
}

export async function isFolder(session: SftpSession, path: string): Promise<boolean> {
  return (await found(session.stat(path)))?.isDirectory() === true;
}

/** Whether anything has the name, a link to nowhere too. */
export async function isTaken(session: SftpSession, path: string): Promise<boolean> {
  return (await found(session.lstat(path))) !== undefined;
}

/**
 * Makes a change among a folder's entries durable, where the server can: the folder is opened while the change is under way.
 * What OpenSSH says of file systems that sync no folders is no error; there is nothing more to be had from them.
 */
export async function withFolderSynced<T>(session: SftpSession, folder: string, change: () => Promise<T>): Promise<T> {
  const opening = openToSync(session, folder);
  try {
    const result = await change();
    const handle = await opening;
    if (handle !== undefined) await syncFolder(session, handle);
    return result;
  } finally {
    void opening.then((handle) => (handle === undefined ? undefined : session.closeLater(handle)));
  }
}

/** Undefined where folders cannot be opened as files are; a connection that was lost shows at the next request. */
async function openToSync(session: SftpSession, folder: string): Promise<SftpHandle | undefined> {
  try {
    return await session.openToRead(folder);
  } catch {
    return undefined;
  }
}

async function syncFolder(session: SftpSession, handle: SftpHandle): Promise<void> {
  try {
    await session.sync(handle);
  } catch (error) {
    const status = statusOf(error);
    if (status !== sftpStatus.badMessage && status !== sftpStatus.unsupported) throw error;
  }
}

/** What lies in `folder` (`''`, `data/`) below `root`; only files that `accept` takes by their whole names. One that is not there is empty. */
export async function readContents(
  session: SftpSession,
  root: string,
  folder: string,
  accept: (name: string) => boolean,
): Promise<FolderContents> {
  const files: StoredObject[] = [];
  const folders: string[] = [];
  const depth = folder.split('/').length;
  let handle: SftpHandle;
  try {
    handle = await session.openFolder(posix.join(root, folder));
  } catch (error) {
    // Not made yet, gone meanwhile, or a link to a file, which is no folder of ours.
    if (statusOf(error) === sftpStatus.noSuchFile) return { files, folders };
    throw error;
  }
  try {
    for (let page = await session.readFolder(handle); page !== undefined; page = await session.readFolder(handle)) {
      for (const { filename, attrs } of page) {
        const name = `${folder}${filename}`;
        if (attrs.isFile() && accept(name)) files.push(storedObject(name, attrs));
        // A link may lead to a folder on another disk.
        const mayBeFolder = attrs.isDirectory() || attrs.isSymbolicLink();
        if (mayBeFolder && depth < maxDepth && isObjectName(filename)) folders.push(`${name}/`);
      }
    }
  } finally {
    session.closeLater(handle);
  }
  return { files, folders };
}

/** Times are whole seconds in version 3 of the protocol. */
export function storedObject(name: string, attrs: Stats): StoredObject {
  return { name, sizeBytes: attrs.size, modifiedAt: new Date(attrs.mtime * 1000) };
}

async function found(stats: Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await stats;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    return undefined;
  }
}
