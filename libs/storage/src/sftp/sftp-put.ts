import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Stats } from 'ssh2';
import { temporaryPrefix } from '../local/local-listing.ts';
import { writeParts } from './sftp-bytes.ts';
import { sftpStatus, statusOf } from './sftp-error.ts';
import { isFolder, isTaken, makeFolders, withFolderSynced } from './sftp-folders.ts';
import type { SftpHandle, SftpSession } from './sftp-session.ts';

/** An object on its way into a folder of a server. */
export interface SftpPut {
  /** The repository's folder. */
  readonly root: string;
  /** The object's path, somewhere below. */
  readonly place: string;
  readonly parts: readonly Uint8Array[];
  readonly signal: AbortSignal | undefined;
  /** Called when the object may be seen from now on, so that an abort comes too late. */
  readonly onCommit: () => void;
}

/**
 * Writes a temporary file beside the place, durably and measured, and links it to its name: a link, unlike a rename, never replaces.
 * Errors: the server's statuses, storage_object_exists, storage_full. The temporary file is gone then, unless the connection is lost.
 */
export async function putObject(session: SftpSession, put: SftpPut): Promise<void> {
  const { root, place, parts, signal, onCommit } = put;
  const folder = posix.dirname(place);
  const temporary = posix.join(folder, `${temporaryPrefix}${randomUUID()}`);
  const sizeBytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  let isNamed = false;
  try {
    const handle = await createIn(session, folder, temporary);
    await fill(session, handle, parts, sizeBytes, signal);
    signal?.throwIfAborted();
    onCommit();
    let removing: Promise<void> | undefined;
    await withFolderSynced(session, folder, async () => {
      await giveName(session, temporary, place);
      isNamed = true;
      // Beside the folder's sync: whether the temporary file comes back after a power cut makes no difference.
      removing = removeIfThere(session, temporary);
    });
    await removing;
  } catch (error) {
    const isFull = statusOf(error) === sftpStatus.failure && (await lacksRoom(session, root, sizeBytes));
    await removeIfThere(session, temporary);
    // What may be gone after a power cut must not be listed now.
    if (isNamed) await removeIfThere(session, place);
    throw isFull ? new HoldfastError('storage_full', 'the disk is full', { context: { status: statusOf(error) }, cause: error }) : error;
  }
}

async function createIn(session: SftpSession, folder: string, temporary: string): Promise<SftpHandle> {
  try {
    return await session.create(temporary);
  } catch (error) {
    const status = statusOf(error);
    // Another put may make the folder right now.
    if (status === undefined || (status !== sftpStatus.noSuchFile && (await isFolder(session, folder)))) throw error;
    await makeFolders(session, folder);
    return session.create(temporary);
  }
}

/** Writes, measures, syncs and closes the file: all of it is sent before the first answer is there, and the server does one after the other. */
async function fill(
  session: SftpSession,
  handle: SftpHandle,
  parts: readonly Uint8Array[],
  sizeBytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let closing: Promise<readonly [Stats, boolean, void]> | undefined;
  try {
    await writeParts(session, handle, parts, signal, () => {
      closing = Promise.all([session.fstat(handle), session.sync(handle), session.close(handle)]);
      // A piece that fails is the better reason.
      closing.catch(() => undefined);
    });
  } finally {
    if (closing === undefined) session.closeLater(handle);
  }
  const size = (await closing)?.[0].size;
  if (size === sizeBytes) return;
  throw new HoldfastError('storage_unreachable', `the server kept ${String(size)} of ${String(sizeBytes)} bytes`);
}

/** By a link; where there are none, by the rename of version 3 of the protocol, which is to fail when the name is taken. */
async function giveName(session: SftpSession, temporary: string, place: string): Promise<void> {
  try {
    if (await session.link(temporary, place)) return;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
  }
  // The server knows no links, the disk has none, or the name is taken: servers tell by one status.
  await assertFree(session, place);
  try {
    await session.rename(temporary, place);
  } catch (error) {
    if (statusOf(error) !== undefined) await assertFree(session, place);
    throw error;
  }
}

async function assertFree(session: SftpSession, place: string): Promise<void> {
  if (await isTaken(session, place)) throw new HoldfastError('storage_object_exists', 'it is there already');
}

/** Whether a bare failure comes from a full disk, of which version 3 of the protocol has no word. */
async function lacksRoom(session: SftpSession, root: string, sizeBytes: number): Promise<boolean> {
  try {
    const room = await session.room(root);
    return room !== undefined && (room.freeBytes < sizeBytes || room.freeFileCount === 0);
  } catch {
    return false;
  }
}

/** Removes a file when it can; what stays is for a sweep. */
async function removeIfThere(session: SftpSession, path: string): Promise<void> {
  try {
    await session.remove(path);
  } catch {
    // Gone already, or the connection is.
  }
}
