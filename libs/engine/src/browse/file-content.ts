import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex, BlobPlace } from '../blob-index.ts';
import type { FoundPath } from './snapshot-trees.ts';

export interface ByteRange {
  readonly offsetBytes: number;
  /** What is behind the end of the file is left out: Infinity for all. */
  readonly lengthBytes: number;
}

/** A blob of a file, and what is wanted of it. */
export interface ContentBlob {
  readonly id: ObjectId;
  /** In the index. */
  readonly entry: number;
  readonly place: BlobPlace;
  readonly plainBytes: number;
  /** Of its plaintext, `from` up to `to`. */
  readonly from: number;
  readonly to: number;
}

export interface FileContent {
  readonly content: readonly ObjectId[];
  readonly sizeBytes: number;
}

/** The content of a file. Errors: path_not_found for what is no file. */
export function contentOf(found: FoundPath): FileContent {
  const node = found.listed?.node;
  if (node?.type === 'file') return { content: node.content ?? [], sizeBytes: node.sizeBytes ?? 0 };
  throw new HoldfastError('path_not_found', `${found.path} is no file`, {
    hint: 'choose a file; a folder can be had as an archive',
    context: { path: found.path },
  });
}

/** Errors: request_invalid, which names the range. */
export function assertRange({ offsetBytes, lengthBytes }: ByteRange, sizeBytes: number): void {
  const isLength = lengthBytes === Number.POSITIVE_INFINITY || (Number.isSafeInteger(lengthBytes) && lengthBytes >= 0);
  if (isLength && Number.isSafeInteger(offsetBytes) && offsetBytes >= 0 && offsetBytes <= sizeBytes) return;
  throw new HoldfastError('request_invalid', `range does not begin within the ${sizeBytes} bytes of the file`, {
    hint: 'ask for a range that begins in the file',
    context: { field: 'range', sizeBytes },
  });
}

/**
 * The blobs of a file that hold a range of it, in order. Errors: repository_damaged, when one is in no index, or all together are not as long
 * as the file: whoever reads was told a size.
 */
export function blobsOfRange(
  index: BlobIndex,
  { content, sizeBytes }: FileContent,
  { offsetBytes, lengthBytes }: ByteRange,
): ContentBlob[] {
  const blobs: ContentBlob[] = [];
  const endBytes = offsetBytes + lengthBytes;
  let startBytes = 0;
  for (const id of content) {
    const entry = index.find('data', id);
    if (entry === -1) throw new HoldfastError('repository_damaged', `data blob ${id} is in no index`);
    const place = index.placeOf(entry);
    const plainBytes = place.plainLength === 0 ? place.length - overheadBytes : place.plainLength;
    const from = Math.max(offsetBytes - startBytes, 0);
    const to = Math.min(endBytes - startBytes, plainBytes);
    if (from < to) blobs.push({ id, entry, place, plainBytes, from, to });
    startBytes += plainBytes;
  }
  if (startBytes === sizeBytes) return blobs;
  throw new HoldfastError('repository_damaged', `the content of a file is ${startBytes} bytes long, and its size is given as ${sizeBytes}`);
}
