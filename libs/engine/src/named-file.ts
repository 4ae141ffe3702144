import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { hashOf, type ObjectId } from '@holdfast/restic-format/object-id';
import { withSignal, type Repository } from './repository.ts';

/** Writes a file that is named by the hash of its bytes. */
export async function saveNamedFile(
  repository: Repository,
  nameOf: (id: ObjectId) => string,
  bytes: Uint8Array,
  signal?: AbortSignal,
): Promise<ObjectId> {
  const id = hashOf(bytes);
  await repository.storage.put(nameOf(id), bytes, { ...withSignal(signal), sha256: id });
  return id;
}

/** The bytes of a file whose name is their hash. Errors: repository_damaged when they are not, those of the storage. */
export async function loadNamedFile(repository: Repository, name: string, id: ObjectId, signal?: AbortSignal): Promise<Uint8Array> {
  const bytes = await repository.storage.get(name, withSignal(signal));
  if (hashOf(bytes) !== id) throw new HoldfastError('repository_damaged', `${name} does not have the content that its name says`);
  return bytes;
}
