import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { createCipher, type Cipher, type MasterKeys } from '@holdfast/restic-format/cipher';
import { decodeConfigFile, type RepositoryConfig } from '@holdfast/restic-format/config-file';
import { openKeyFile } from '@holdfast/restic-format/key-file';
import { configName, idOfName, keysPrefix } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Storage } from '@holdfast/storage/storage';
import type { IndexMirror } from './index-mirror.ts';
import type { KnownSnapshots } from './known-snapshots.ts';

/** An open restic repository of version 2: where it lives, and the keys to it. Safe to use by several calls at once. */
export interface Repository extends AsyncDisposable {
  readonly id: ObjectId;
  readonly storage: Storage;
  readonly cipher: Cipher;
  /** For a thread to make a cipher of its own from. */
  readonly masterKeys: MasterKeys;
  readonly chunkerPolynomial: bigint;
  /** The key file that opened it, and after a change of password the one that would; undefined when it was not opened by one. */
  keyId: ObjectId | undefined;
  /** Present when a RepositoryCache opened it: the index as it was seen last, and the snapshots that were read before. */
  readonly indexMirror?: IndexMirror;
  readonly knownSnapshots?: KnownSnapshots;
  /** Closes the storage too. Calling it twice is no error. */
  close(): Promise<void>;
}

export interface OpenRepositoryOptions {
  readonly storage: Storage;
  /** May be empty: the repository is then readable by everybody who reaches the storage. */
  readonly password: string;
  readonly signal?: AbortSignal;
}

/** A key file that the password opened. */
export interface OpenedKey {
  readonly name: string;
  readonly masterKeys: MasterKeys;
}

/** Each key costs a deliberately slow derivation, so a folder full of them must not keep us busy for hours. restic's own limit. */
export const maxKeysTried = 20;

/** What it takes to open a repository again. */
export interface UnlockedRepository {
  readonly keyName: string;
  readonly masterKeys: MasterKeys;
  readonly config: RepositoryConfig;
  readonly sealedConfig: Uint8Array;
}

/**
 * Opens the repository at `storage`, which the repository owns from then on; when it throws, the caller still does.
 * Errors: repository_missing, repository_password_wrong, repository_damaged, repository_unsupported, and those of the storage.
 */
export async function openRepository(options: OpenRepositoryOptions): Promise<Repository> {
  const { masterKeys, config, keyName } = await unlockRepository(options);
  return makeRepository(options.storage, masterKeys, config, keyName);
}

/** Finds the key that the password opens and reads the config with it. Errors: as openRepository. */
export async function unlockRepository(options: OpenRepositoryOptions): Promise<UnlockedRepository> {
  const sealedConfig = await readConfig(options.storage, options.signal);
  let damage: HoldfastError | undefined;
  for await (const { name: keyName, masterKeys } of openKeys(options)) {
    // A key that opens but does not fit was left by a creator that lost a race: look on.
    try {
      return { keyName, masterKeys, config: decodeConfigFile(sealedConfig, createCipher(masterKeys)), sealedConfig };
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged')) throw error;
      damage = error;
    }
  }
  if (damage !== undefined) throw damage;
  throw new HoldfastError('repository_password_wrong', `no key of ${options.storage.location} opens with this password`);
}

export function makeRepository(storage: Storage, masterKeys: MasterKeys, config: RepositoryConfig, keyName?: string): Repository {
  const close = () => storage.close();
  return {
    id: config.id,
    storage,
    cipher: createCipher(masterKeys),
    masterKeys,
    chunkerPolynomial: config.chunkerPolynomial,
    keyId: keyName === undefined ? undefined : (idOfName(keyName) ?? undefined),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The keys that the password opens, in the order of their names. Errors: repository_damaged when there is none at all. */
export async function* openKeys(options: OpenRepositoryOptions): AsyncGenerator<OpenedKey> {
  const { storage, password, signal } = options;
  const names = await listKeyNames(storage, signal);
  if (names.length === 0) throw new HoldfastError('repository_damaged', `${storage.location} has a config but no key`);
  let unreadable: HoldfastError | undefined;
  let whole = 0;
  for (const name of names.slice(0, maxKeysTried)) {
    signal?.throwIfAborted();
    try {
      const masterKeys = await openKeyFile(await storage.get(name, withSignal(signal)), password);
      whole++;
      if (masterKeys !== null) yield { name, masterKeys };
    } catch (error) {
      // One damaged key does not lock the others out; when all are damaged, that is what is wrong.
      if (!isHoldfastError(error, 'repository_damaged') && !isHoldfastError(error, 'storage_object_missing')) throw error;
      unreadable = error;
    }
  }
  if (whole === 0 && unreadable !== undefined) throw unreadable;
}

export async function listKeyNames(storage: Storage, signal?: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of storage.list(keysPrefix, withSignal(signal))) if (idOfName(name) !== null) names.push(name);
  return names.toSorted();
}

async function readConfig(storage: Storage, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    return await storage.get(configName, withSignal(signal));
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_missing')) throw error;
    throw new HoldfastError('repository_missing', `there is no repository at ${storage.location}`, { cause: error });
  }
}

/** Call options that carry the signal only when there is one. */
export function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
