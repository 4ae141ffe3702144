import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { defaultKdf, describeKeyFile, equalMasterKeys, makeKeyFile, openKeyFile } from '@holdfast/restic-format/key-file';
import type { KdfParameters } from '@holdfast/restic-format/key-file';
import { idOfName, keyName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { RandomBytes } from '@holdfast/restic-format/random-bytes';
import { randomBytes } from 'node:crypto';
import { systemClock } from './clock.ts';
import { isDamage } from './damage.ts';
import { currentHolder } from './lock-holder.ts';
import { withLock, type Lock, type LockOptions } from './lock.ts';
import { loadNamedFile, saveNamedFile } from './named-file.ts';
import { listKeyNames, maxKeysTried, type Repository } from './repository.ts';

/**
 * Keys: each holds the repository's master keys under a password of its own. Adding one, removing one and changing a password touch
 * key files only: nothing else is encrypted again, and whoever copied a key file while its password held can use it for ever.
 */
export interface RepositoryKey {
  readonly id: ObjectId;
  /** The one that opened this repository. */
  readonly isInUse: boolean;
  readonly created?: Date;
  readonly username?: string;
  readonly hostname?: string;
  /** Why the file cannot be read, and with it nothing of the above. */
  readonly problem?: string;
}

export interface KeyOptions extends LockOptions {
  readonly repository: Repository;
  /** A lock that the caller holds already: shared is enough to add, to remove and to change it takes an exclusive one. */
  readonly lock?: Lock;
}

export interface NewKeyOptions extends KeyOptions {
  /** May be empty. */
  readonly password: string;
  /** For people who list the keys; by default those of this process. */
  readonly username?: string;
  readonly hostname?: string;
  readonly kdf?: KdfParameters;
  readonly random?: RandomBytes;
}

/** All keys, in the order in which they are tried. Errors: those of the storage. */
export async function listKeys({ repository, signal }: { repository: Repository; signal?: AbortSignal }): Promise<RepositoryKey[]> {
  const keys: RepositoryKey[] = [];
  for (const name of await listKeyNames(repository.storage, signal)) {
    const id = idOfName(name) ?? '';
    const isInUse = id === repository.keyId;
    try {
      const { createdNs, username, hostname } = describeKeyFile(await loadNamedFile(repository, name, id, signal));
      keys.push({ id, isInUse, created: new Date(Number(createdNs / 1_000_000n)), username, hostname });
    } catch (error) {
      if (!isDamage(error)) throw error;
      keys.push({ id, isInUse, problem: error.message });
    }
  }
  return keys;
}

/**
 * Adds a key and tries it. When it throws or is aborted, a key that was written may be there; it opens the repository or nothing.
 * Errors: request_invalid (no more keys are tried on opening), repository_locked, those of the storage.
 */
export async function addKey(options: NewKeyOptions): Promise<ObjectId> {
  return await withLock({ ...options, exclusive: false }, (signal) => writeKey(options, signal));
}

/**
 * Removes a key; one that is not there is no error. Errors: repository_key_needed for the one in use and for the last that can be
 * read, repository_locked, those of the storage.
 */
export async function removeKey(options: KeyOptions & { id: ObjectId }): Promise<void> {
  await withLock({ ...options, exclusive: true }, (signal) => deleteKey(options.repository, options.id, signal));
}

/**
 * Replaces the key in use by one with another password. Both open the repository between the two steps, and after a crash there; the
 * other keys stay as they are. Errors: as addKey; internal for a repository that no key opened.
 */
export async function changePassword(options: NewKeyOptions): Promise<ObjectId> {
  const { repository } = options;
  const former = repository.keyId;
  if (former === undefined) throw new HoldfastError('internal', 'a password can be changed only where the key in use is known');
  return await withLock({ ...options, exclusive: true }, async (signal) => {
    const id = await writeKey(options, signal);
    repository.keyId = id;
    await deleteKey(repository, former, signal);
    return id;
  });
}

async function writeKey(options: NewKeyOptions, signal: AbortSignal): Promise<ObjectId> {
  const { repository, password, kdf = defaultKdf, random = randomBytes, clock = systemClock } = options;
  const { masterKeys, storage } = repository;
  // One more may stay untried on opening, and lock its owner out. A change of password is one more for a moment only.
  const count = (await listKeyNames(storage, signal)).length;
  if (count >= maxKeysTried) {
    throw new HoldfastError('request_invalid', `${storage.location} has ${count} keys, and no more than ${maxKeysTried} are tried`);
  }
  const { username, hostname } = { ...currentHolder(), ...namesOf(options) };
  const bytes = await makeKeyFile({ password, masterKeys, created: clock.now(), username, hostname, kdf, random });
  const id = await saveNamedFile(repository, keyName, bytes, signal);
  const readBack = await openKeyFile(await storage.get(keyName(id), { signal }), password);
  if (readBack !== null && equalMasterKeys(readBack, masterKeys)) return id;
  await storage.delete(keyName(id), { signal });
  throw new HoldfastError('internal', `key ${id} does not open as it was written; suspect the memory of this machine`);
}

function namesOf({ username, hostname }: NewKeyOptions): { username?: string; hostname?: string } {
  return { ...(username === undefined ? {} : { username }), ...(hostname === undefined ? {} : { hostname }) };
}

async function deleteKey(repository: Repository, id: ObjectId, signal: AbortSignal): Promise<void> {
  const needed = (why: string): HoldfastError =>
    new HoldfastError('repository_key_needed', `key ${id} of ${repository.storage.location} ${why}`);
  if (id === repository.keyId) throw needed('is the one in use');
  const keys = await listKeys({ repository, signal });
  if (!keys.some((key) => key.id === id)) return;
  if (!keys.some((key) => key.id !== id && key.problem === undefined)) throw needed('is the last one');
  await repository.storage.delete(keyName(id), { signal });
}
