import { createHash } from 'node:crypto';
import type { ByteRange } from '../storage.ts';

/**
 * Files of a cache on a worker's disk, by their paths below the folder of one repository:
 *
 * - `index/<id>`, `snapshots/<id>`: the object's bytes. They are right when their SHA-256 is the id.
 * - `data/<pack id>/<offset>.<length>`: a range of a pack. Its name says nothing of its bytes, so 32 bytes stand before them: the
 *   SHA-256 of the path, a zero byte and the bytes. A file that was cut, has changed or lies under another's name does not fit.
 *
 * The bytes are those of the storage, sealed as they are there. Keys are not kept: with one, a stolen disk would be enough to try passwords.
 */
export type KeptFolder = 'index' | 'snapshots' | 'data';

export const keptFolders: readonly KeptFolder[] = ['index', 'snapshots', 'data'];

const idPattern = /^[0-9a-f]{64}$/u;
const wholePattern = /^(?:index|snapshots)\/(?<id>[0-9a-f]{64})$/u;
const packPattern = /^data\/[0-9a-f]{2}\/(?<id>[0-9a-f]{64})$/u;
const rangePattern = /^data\/[0-9a-f]{64}\/\d{1,10}\.\d{1,10}$/u;
const digestBytes = 32;

/** Where an object is kept, or its range; null for what no cache keeps. */
export function keptPath(name: string, range?: ByteRange): string | null {
  if (range === undefined) return wholePattern.test(name) ? name : null;
  const folder = packFolder(name);
  return folder === null ? null : `${folder}/${String(range.offsetBytes)}.${String(range.lengthBytes)}`;
}

/** The folder with the ranges of a pack, `data/<pack id>`; null when the name is not a pack's. */
export function packFolder(name: string): string | null {
  const id = packPattern.exec(name)?.groups?.['id'];
  return id === undefined ? null : `data/${id}`;
}

/** The object that an entry of a kept folder is of, or comes from. */
export function nameOfKept(folder: KeptFolder, entry: string): string {
  return folder === 'data' ? `data/${entry.slice(0, 2)}/${entry}` : `${folder}/${entry}`;
}

/** Whether a name in a kept folder is one of ours: nothing else is ever removed. */
export function isObjectId(entry: string): boolean {
  return idPattern.test(entry);
}

/** The same of a path below a repository's folder. */
export function isKeptPath(path: string): boolean {
  return wholePattern.test(path) || rangePattern.test(path);
}

/** The content of the file that keeps `bytes`; null when they are not what the object's name says. */
export function sealKept(path: string, bytes: Uint8Array): readonly Uint8Array[] | null {
  const id = wholePattern.exec(path)?.groups?.['id'];
  if (id === undefined) return [rangeDigest(path, bytes), bytes];
  return createHash('sha256').update(bytes).digest('hex') === id ? [bytes] : null;
}

/** The bytes that a file keeps; null when it is not whole, or another's. */
export function openKept(path: string, file: Uint8Array): Uint8Array | null {
  if (wholePattern.test(path)) return sealKept(path, file) === null ? null : file;
  const bytes = file.subarray(digestBytes);
  return rangeDigest(path, bytes).equals(file.subarray(0, digestBytes)) ? bytes : null;
}

function rangeDigest(path: string, bytes: Uint8Array): Buffer {
  return createHash('sha256').update(`${path}\0`).update(bytes).digest();
}
