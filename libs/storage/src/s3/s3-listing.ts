import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { isObjectName } from '../object-name.ts';
import type { StoredObject } from '../storage.ts';

/** A page of a listing, and what the next one is asked for by. */
export interface S3Page {
  readonly objects: readonly StoredObject[];
  readonly next: string | undefined;
}

/**
 * Reads a page whose keys are encoded as in URLs. `root` is what stands before names in keys. Keys that are no names of objects are
 * passed over. Throws storage_unreachable for an answer that is no listing: taken for an empty one, it would tell of a repository
 * without objects.
 */
export function readPage(page: ListObjectsV2CommandOutput, root: string, asked: string | undefined): S3Page {
  const { IsTruncated: isTruncated, NextContinuationToken: token, Contents: contents = [] } = page;
  if (isTruncated === undefined) throw new HoldfastError('storage_unreachable', 'the answer is no listing');
  if (isTruncated && (token === undefined || token === asked)) {
    throw new HoldfastError('storage_unreachable', 'the listing goes on and does not say where');
  }
  const objects = contents.flatMap(({ Key: key, Size: sizeBytes, LastModified: modifiedAt }) => {
    const name = nameOf(key, root);
    return name === undefined ? [] : [storedObject(name, sizeBytes, modifiedAt)];
  });
  return { objects, next: isTruncated ? token : undefined };
}

/** Throws storage_unreachable when the server left out what it has to say. */
export function storedObject(name: string, sizeBytes: number | undefined, modifiedAt: Date | undefined): StoredObject {
  if (sizeBytes === undefined || modifiedAt === undefined) {
    throw new HoldfastError('storage_unreachable', `the answer lacks size or time of ${name}`);
  }
  // A listing may have milliseconds; the header Last-Modified has none.
  return { name, sizeBytes, modifiedAt: new Date(Math.floor(modifiedAt.getTime() / 1000) * 1000) };
}

function nameOf(key: string | undefined, root: string): string | undefined {
  const decoded = key === undefined ? undefined : decodedKey(key);
  if (decoded === undefined || !decoded.startsWith(root)) return undefined;
  const name = decoded.slice(root.length);
  return isObjectName(name) ? name : undefined;
}

/** Undefined for what is no encoding, and so no key of ours. */
function decodedKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
