import type { Transaction } from '@holdfast/database/open-database';
import { refuseTakenPlace, type RepositoryPlace } from '@holdfast/database/repository-place';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { credentialsPlace, locationKey, type StorageOptions } from '@holdfast/storage/storage-options';
import { credentialsFor } from './check-config.ts';
import type { ApiConfig } from './config.ts';
import { fieldError } from './problem.ts';

/** A place that is taken is told under the field that names it. */
export async function refusePlace(tx: Transaction, place: RepositoryPlace): Promise<void> {
  try {
    await refuseTakenPlace(tx, place);
  } catch (error) {
    if (!isHoldfastError(error, 'conflict')) throw error;
    throw fieldError('conflict', [{ field: 'storageOptions', message: `${error.message}; ${error.hint}` }]);
  }
}

/** Credentials that are missing are told under the field that takes them. */
export async function namingCredentials<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isHoldfastError(error, 'credentials_missing')) throw error;
    throw fieldError('credentials_missing', [{ field: 'storageCredentials', message: `${error.message}; ${error.hint}` }]);
  }
}

/** What the rows are told of a place and of what lets us in there. Code: request_invalid. */
export function storagePlace(options: StorageOptions, given: unknown, settings: Pick<ApiConfig, 'allowAmbientCredentials'>) {
  const credentials = credentialsFor(options, given, settings);
  return {
    locationKey: locationKey(options),
    credentialsPlace: credentialsPlace(options),
    credentials: credentials === undefined ? undefined : JSON.stringify(credentials),
  };
}
