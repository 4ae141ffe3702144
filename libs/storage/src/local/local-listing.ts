import type { Dirent } from 'node:fs';
import { lstat, opendir, unlink } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { isObjectName } from '../object-name.ts';
import type { CallOptions, StoredObject } from '../storage.ts';

/** What a put's file is called until it is whole; restic passes over any name that is no id. */
export const temporaryPrefix = '.tmp-';

/** Parts of an object's name: `data/<two hex>/<id>` has the most. */
const maxDepth = 3;
/** lstat calls under way at once: enough to keep the thread pool busy. */
const statBatchSize = 32;
/** No put takes as long: an older temporary file belongs to a process that died. */
const staleAfterMs = 60 * 60 * 1000;

/** Every object below `prefix`. What no put can have made, temporary files among it, is passed over. */
export async function* listLocalObjects(root: string, prefix: string): AsyncIterable<StoredObject> {
  for await (const batch of batches(walk(root, prefix, isObjectName))) {
    const objects = await Promise.all(batch.map((name) => statObject(root, name)));
    yield* objects.filter((object) => object !== undefined);
  }
}

/**
 * Removes the temporary files that a killed process left more than an hour before `now`; returns how many.
 * Errors of node:fs come through; what has been removed by then stays removed.
 */
export async function sweepStaleTemporaries(path: string, options: CallOptions & { now: Date }): Promise<number> {
  let sweptCount = 0;
  for await (const name of walk(path, '', isTemporaryName)) {
    options.signal?.throwIfAborted();
    const found = await statObject(path, name);
    if (found === undefined || options.now.getTime() - found.modifiedAt.getTime() < staleAfterMs) continue;
    await unlink(posix.join(path, name));
    sweptCount += 1;
  }
  return sweptCount;
}

function isTemporaryName(name: string): boolean {
  return posix.basename(name).startsWith(temporaryPrefix);
}

/** Names of files below `prefix` that `accept` takes. A folder that is not there holds none. */
async function* walk(root: string, prefix: string, accept: (name: string) => boolean): AsyncIterable<string> {
  const depth = prefix.split('/').length;
  const folders: string[] = [];
  for await (const entry of entriesOf(posix.join(root, prefix))) {
    const name = `${prefix}${entry.name}`;
    if (entry.isFile() ? accept(name) : false) yield name;
    const mayBeFolder = entry.isDirectory() || entry.isSymbolicLink();
    if (mayBeFolder && depth < maxDepth && isObjectName(entry.name)) folders.push(`${name}/`);
  }
  for (const folder of folders) yield* walk(root, folder, accept);
}

async function* entriesOf(folder: string): AsyncIterable<Dirent> {
  try {
    yield* await opendir(folder, { bufferSize: 256 });
  } catch (error) {
    // ENOENT: not made yet, or gone meanwhile. ENOTDIR: a symlink to a file, which is no folder of ours.
    if (errnoCode(error) !== 'ENOENT' && errnoCode(error) !== 'ENOTDIR') throw error;
  }
}

async function statObject(root: string, name: string): Promise<StoredObject | undefined> {
  try {
    const found = await lstat(posix.join(root, name));
    return { name, sizeBytes: found.size, modifiedAt: found.mtime };
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function* batches(names: AsyncIterable<string>): AsyncIterable<string[]> {
  let batch: string[] = [];
  for await (const name of names) {
    batch.push(name);
    if (batch.length < statBatchSize) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}
