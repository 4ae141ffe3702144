import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { randomPolynomial } from '@holdfast/restic-format/chunker';
import { createCipher, generateMasterKeys, type MasterKeys } from '@holdfast/restic-format/cipher';
import { decodeConfigFile, encodeConfigFile } from '@holdfast/restic-format/config-file';
import { defaultKdf, equalMasterKeys, makeKeyFile, type KdfParameters } from '@holdfast/restic-format/key-file';
import { configName, keyName } from '@holdfast/restic-format/layout';
import { hashOf } from '@holdfast/restic-format/object-id';
import type { RandomBytes } from '@holdfast/restic-format/random-bytes';
import { randomBytes } from 'node:crypto';
import { systemClock, type Clock } from './clock.ts';
import { listKeyNames, makeRepository, openKeys, openRepository, withSignal } from './repository.ts';
import type { OpenedKey, OpenRepositoryOptions, Repository } from './repository.ts';

export interface CreateRepositoryOptions extends OpenRepositoryOptions {
  /** Written into the key file, in the clear. */
  readonly hostname: string;
  readonly username: string;
  readonly clock?: Clock;
  readonly random?: RandomBytes;
  readonly kdf?: KdfParameters;
  /** Of another repository: files then are cut alike, and what is copied between the two is not stored twice. Default: a new one. */
  readonly chunkerPolynomial?: bigint;
}

/**
 * Makes a repository and opens it. The config is written last: what a crash leaves before it is taken up by the next call.
 * Of two callers that race, one gets the repository, the other repository_exists. Errors: repository_exists, those of the storage.
 */
export async function createRepository(options: CreateRepositoryOptions): Promise<Repository> {
  const { storage, signal } = options;
  const random = options.random ?? randomBytes;
  if (await hasConfig(options)) throw existsError(options);

  // A crash before the config leaves a key. It is taken up, not deleted: its maker may be alive and about to write the config.
  const leftKey = await firstKey(options);
  const masterKeys = leftKey?.masterKeys ?? generateMasterKeys(random);
  const ownKey = leftKey === null ? await writeKey(options, masterKeys, random) : null;
  const config = {
    version: 2,
    id: Buffer.from(random(32)).toString('hex'),
    chunkerPolynomial: options.chunkerPolynomial ?? randomPolynomial(random),
  } as const;
  try {
    await storage.put(configName, encodeConfigFile(config, createCipher(masterKeys, random)), withSignal(signal));
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_exists')) throw error;
    // Lost the race. A key that does not fit the winner's config would only mislead other programs.
    if (ownKey !== null && !(await fitsConfig(options, masterKeys))) await removeStrayKey(options, ownKey);
    throw existsError(options, error);
  }
  await removeStrayKeys(options, masterKeys);
  return makeRepository(storage, masterKeys, config, ownKey ?? leftKey?.name);
}

/** Opens the repository, or makes it when there is none; the way of callers that may race. Errors: as openRepository. */
export async function openOrCreateRepository(options: CreateRepositoryOptions): Promise<Repository> {
  try {
    return await openRepository(options);
  } catch (error) {
    if (!isHoldfastError(error, 'repository_missing')) throw error;
  }
  try {
    return await createRepository(options);
  } catch (error) {
    if (!isHoldfastError(error, 'repository_exists')) throw error;
    return await openRepository(options);
  }
}

async function firstKey(options: CreateRepositoryOptions): Promise<OpenedKey | null> {
  if ((await listKeyNames(options.storage, options.signal)).length === 0) return null;
  try {
    for await (const key of openKeys(options)) return key;
  } catch (error) {
    // Nothing but torn keys: nobody can have written a config for them.
    if (!isHoldfastError(error, 'repository_damaged')) throw error;
  }
  return null;
}

/** Writes a key file and returns its name. */
async function writeKey(options: CreateRepositoryOptions, masterKeys: MasterKeys, random: RandomBytes): Promise<string> {
  const { storage, password, hostname, username, clock = systemClock, kdf = defaultKdf, signal } = options;
  const bytes = await makeKeyFile({ password, masterKeys, created: clock.now(), username, hostname, kdf, random });
  const name = keyName(hashOf(bytes));
  await storage.put(name, bytes, withSignal(signal));
  return name;
}

/** Keys of creators that lost, or died before they could: they open with the password but fit no config, which misleads restic. */
async function removeStrayKeys(options: CreateRepositoryOptions, masterKeys: MasterKeys): Promise<void> {
  if ((await listKeyNames(options.storage, options.signal)).length === 1) return;
  for await (const key of openKeys(options)) {
    if (!equalMasterKeys(key.masterKeys, masterKeys)) await removeStrayKey(options, key.name);
  }
}

/** What a storage that keeps everything does not let go stays: whoever opens the repository looks on to the next key. */
async function removeStrayKey({ storage, signal }: CreateRepositoryOptions, name: string): Promise<void> {
  try {
    await storage.delete(name, withSignal(signal));
  } catch (error) {
    if (!keepers.some((code) => isHoldfastError(error, code))) throw error;
  }
}

const keepers = ['storage_object_held', 'storage_append_only', 'storage_denied'] as const;

async function hasConfig({ storage, signal }: CreateRepositoryOptions): Promise<boolean> {
  try {
    await storage.stat(configName, withSignal(signal));
    return true;
  } catch (error) {
    if (!isHoldfastError(error, 'storage_object_missing')) throw error;
    return false;
  }
}

async function fitsConfig({ storage, signal }: CreateRepositoryOptions, masterKeys: MasterKeys): Promise<boolean> {
  const bytes = await storage.get(configName, withSignal(signal));
  try {
    decodeConfigFile(bytes, createCipher(masterKeys));
    return true;
  } catch (error) {
    if (!isHoldfastError(error, 'repository_damaged')) throw error;
    return false;
  }
}

function existsError({ storage }: CreateRepositoryOptions, cause?: unknown): HoldfastError {
  return new HoldfastError('repository_exists', `${storage.location} holds a repository already`, cause === undefined ? {} : { cause });
}
