import { dataPrefix, idOfName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Repository } from './repository.ts';

/** The packs in the storage and their sizes, in an index or not. */
export async function listPackSizes(repository: Repository, signal: AbortSignal): Promise<Map<ObjectId, number>> {
  const sizes = new Map<ObjectId, number>();
  for await (const { name, sizeBytes } of repository.storage.list(dataPrefix, { signal })) {
    const id = idOfName(name);
    if (id !== null) sizes.set(id, sizeBytes);
  }
  return sizes;
}
