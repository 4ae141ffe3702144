import { posix } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { FTPError } from 'basic-ftp';
import type { ByteRange, StoredObject } from '../storage.ts';
import type { FtpConnection } from './ftp-connection.ts';
import type { FtpEntry } from './ftp-entry.ts';
import { codeOfReply } from './ftp-error.ts';
import { entriesOf, isRefusal, temporaryPrefix, unlessMissing } from './ftp-listing.ts';

/** What is done to one object on one session. Replies of the server come through as they are, but for what they leave unclear. */
export interface FtpObject {
  readonly connection: FtpConnection;
  readonly name: string;
  /** The storage's, for errors. */
  readonly location: string;
}

export async function readObject(object: FtpObject, range: ByteRange | undefined): Promise<Uint8Array> {
  const { connection, name, location } = object;
  const path = connection.pathOf(name);
  const read = async (): Promise<Uint8Array> => {
    const sizeBytes = await connection.sizeOf(path);
    const { offsetBytes, lengthBytes } = range ?? { offsetBytes: 0, lengthBytes: sizeBytes };
    if (offsetBytes + lengthBytes > sizeBytes) {
      const context = { object: name, location, sizeBytes, offsetBytes, lengthBytes };
      throw new HoldfastError('storage_object_too_short', `${name} at ${location} ends before the bytes asked for`, { context });
    }
    // Not from Node's pool: the caller may give its memory away.
    const bytes = Buffer.allocUnsafeSlow(lengthBytes);
    if (lengthBytes === 0) return bytes;
    let filledBytes = 0;
    await connection.retrieve(path, { offsetBytes, lengthBytes, sizeBytes }, (chunk) => {
      bytes.set(chunk, filledBytes);
      filledBytes += chunk.byteLength;
    });
    return bytes;
  };
  const bytes = await unlessMissing(connection, path, 'file', read);
  if (bytes === undefined) throw missing(object);
  return bytes;
}

/** As a listing gives it: from the server's facts, else from the listing of its folder, for other commands give other dates. */
export async function statObject(object: FtpObject): Promise<StoredObject> {
  const { connection, name, location } = object;
  const path = connection.pathOf(name);
  const inFolder = async (): Promise<FtpEntry | undefined> =>
    (await entriesOf(connection, posix.dirname(path)))?.find((entry) => entry.name === posix.basename(path));
  const found = connection.hasFacts ? await unlessMissing(connection, path, 'file', () => connection.factsOf(path)) : await inFolder();
  if (found === undefined) throw missing(object);
  if (found.kind === 'file') return { name, sizeBytes: found.sizeBytes, modifiedAt: found.modifiedAt };
  throw new HoldfastError('storage_denied', `${name} at ${location} is no regular file`, { context: { object: name, location } });
}

/** DELE; what is not there is gone. */
export async function deleteObject({ connection, name }: FtpObject): Promise<void> {
  const path = connection.pathOf(name);
  await unlessMissing(connection, path, 'file', () => connection.send(`DELE ${path}`));
}

export interface Upload {
  readonly parts: readonly Uint8Array[];
  /** Beside the object's place, so that a rename moves no bytes. */
  readonly temporary: string;
  /** Every byte is read again; else the server's word on the size is enough. */
  readonly readsBack: boolean;
  readonly signal: AbortSignal | undefined;
}

export function temporaryPathOf({ connection, name }: FtpObject, id: string): string {
  return posix.join(posix.dirname(connection.pathOf(name)), `${temporaryPrefix}${id}`);
}

/** Sends the bytes to the temporary name, making the folders that are missing, and checks what arrived. */
export async function writeTemporary(object: FtpObject, { parts, temporary, readsBack, signal }: Upload): Promise<void> {
  const { connection, name, location } = object;
  try {
    await connection.store(temporary, parts, signal);
  } catch (error) {
    if (!(error instanceof FTPError) || !isRefusal(error) || codeOfReply(error) === 'storage_full') throw error;
    signal?.throwIfAborted();
    // Servers say the same to a folder that is missing and to one that may not be written: the second try tells.
    await makeFolder(connection, posix.dirname(temporary));
    await connection.store(temporary, parts, signal);
  }
  signal?.throwIfAborted();
  const sentBytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const sizeBytes = await connection.sizeOf(temporary);
  const isWhole = sizeBytes === sentBytes && (!readsBack || sentBytes === 0 || (await isSame(connection, temporary, parts, sentBytes)));
  signal?.throwIfAborted();
  if (isWhole) return;
  const context = { object: name, location, sentBytes, sizeBytes };
  throw new HoldfastError('storage_unreachable', `${name} at ${location}: other bytes arrived than were sent`, { context });
}

async function isSame(connection: FtpConnection, path: string, parts: readonly Uint8Array[], sizeBytes: number): Promise<boolean> {
  let hasDifference = false;
  let part = 0;
  let offset = 0;
  await connection.retrieve(path, { offsetBytes: 0, lengthBytes: sizeBytes, sizeBytes }, (chunk) => {
    for (let rest = chunk; rest.byteLength > 0;) {
      const expected = parts[part]?.subarray(offset, offset + rest.byteLength);
      if (expected === undefined) return;
      hasDifference ||= Buffer.compare(expected, rest.subarray(0, expected.byteLength)) !== 0;
      rest = rest.subarray(expected.byteLength);
      offset += expected.byteLength;
      if (offset === parts[part]?.byteLength) [part, offset] = [part + 1, 0];
    }
  });
  return !hasDifference;
}

/** The deepest first: in a repository that is there only that one is missing. What cannot be made shows at the next upload. */
async function makeFolder(connection: FtpConnection, path: string): Promise<void> {
  if (path === '/' || (await isMade(connection, path))) return;
  await makeFolder(connection, posix.dirname(path));
  await isMade(connection, path);
}

async function isMade(connection: FtpConnection, path: string): Promise<boolean> {
  try {
    await connection.send(`MKD ${path}`);
    return true;
  } catch (error) {
    if (error instanceof FTPError && error.code !== 421) return false;
    throw error;
  }
}

/**
 * RNFR and RNTO, when nothing has the name. `beforeRename` is called last before the object may be seen, and may throw.
 * Errors: storage_object_exists, before or because the server refuses to replace.
 */
export async function renameToObject(object: FtpObject, temporary: string, beforeRename: () => void): Promise<void> {
  const { connection, name, location } = object;
  const path = connection.pathOf(name);
  const exists = (): HoldfastError =>
    new HoldfastError('storage_object_exists', `${name} at ${location} is there already`, { context: { object: name, location } });
  if (await hasFile(connection, path)) throw exists();
  beforeRename();
  try {
    await connection.send(`RNFR ${temporary}`);
    await connection.send(`RNTO ${path}`);
  } catch (error) {
    if (error instanceof FTPError && isRefusal(error) && (await hasFile(connection, path))) throw exists();
    throw error;
  }
}

async function hasFile(connection: FtpConnection, path: string): Promise<boolean> {
  try {
    await connection.sizeOf(path);
    return true;
  } catch (error) {
    if (error instanceof FTPError && isRefusal(error)) return false;
    throw error;
  }
}

function missing({ name, location }: FtpObject): HoldfastError {
  return new HoldfastError('storage_object_missing', `${name} at ${location} is not there`, { context: { object: name, location } });
}
