import { findOrCreateRepository, findRepository, type RepositoryRow } from '@holdfast/database/repositories';
import type { Transaction } from '@holdfast/database/open-database';
import { systemEntityId } from '@holdfast/database/scope';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { z } from 'zod';
import { checkPlace } from './check-config.ts';
import type { ApiConfig } from './config.ts';
import { fieldError } from './problem.ts';
import { placeFields } from './schemas/place-fields.ts';
import { idSchema } from './schemas/primitives.ts';
import { namingCredentials, refusePlace, storagePlace } from './storage-place.ts';

/** Where copies go: a repository that is there, or a place, where one is made when there is none. */
export const copyTargetFields = {
  targetRepositoryId: idSchema.optional().describe('A repository of the same entity; or say where one is, or is to be'),
  storageLocation: placeFields.storageLocation.optional(),
  storageOptions: placeFields.storageOptions.optional(),
  storageCredentials: placeFields.storageCredentials.optional(),
  encryptionEnabled: placeFields.encryptionEnabled.optional().describe('Default true'),
  encryptionKey: placeFields.encryptionKey.optional(),
};

// Written as a type of the fields, so that what the body may say is said once.
type CopyTarget = z.output<z.ZodObject<typeof copyTargetFields>>;

/**
 * The repository that copies of `source` go to, made where there is none. Codes: request_invalid, conflict, path_outside_roots,
 * storage_host_not_allowed, credentials_missing; each names the field.
 */
export async function findCopyTarget(
  tx: Transaction,
  source: RepositoryRow,
  target: CopyTarget,
  settings: ApiConfig,
): Promise<RepositoryRow> {
  const { targetRepositoryId, storageLocation, storageOptions, encryptionEnabled = true, encryptionKey, storageCredentials } = target;
  if (targetRepositoryId !== undefined) {
    const { targetRepositoryId: _named, ...others } = target;
    const [field] = Object.entries(others).flatMap(([name, value]) => (value === undefined ? [] : [name]));
    if (field !== undefined) throw unfit(field, 'is given beside targetRepositoryId; leave one of them out');
    return usable(source, await findInEntity(tx, source, targetRepositoryId), 'targetRepositoryId');
  }
  if (storageOptions === undefined) throw unfit('storageOptions', 'is missing; say where the copies go, or send targetRepositoryId');
  if (storageLocation === undefined) throw unfit('storageLocation', 'is missing; it is the type of storageOptions');
  checkPlace({ storageLocation, storageOptions, encryptionEnabled, encryptionKey }, settings);
  const { businessEntityId } = source;
  const place = { businessEntityId, encryptionEnabled, ...storagePlace(storageOptions, storageCredentials, settings) };
  await refusePlace(tx, place);
  const input = { ...place, storageLocation, storageOptions, password: encryptionKey };
  const row = await namingCredentials(() => namingKey(() => findOrCreateRepository(tx, input, settings.masterKey)));
  return usable(source, row, 'storageOptions');
}

/** Another entity's does not exist, for whoever may touch both as well. */
async function findInEntity(tx: Transaction, { businessEntityId }: RepositoryRow, id: string): Promise<RepositoryRow> {
  try {
    return await findRepository(tx, [businessEntityId], id);
  } catch (error) {
    if (!isHoldfastError(error, 'not_found')) throw error;
    throw unfit('targetRepositoryId', 'names no repository of the entity that is copied from');
  }
}

function usable(source: RepositoryRow, target: RepositoryRow, field: string): RepositoryRow {
  if (source.businessEntityId === systemEntityId && !target.encryptionEnabled) {
    throw unfit('encryptionEnabled', 'must be true: backups of the service hold its master key, and so do their copies');
  }
  if (target.id === source.id) throw unfit(field, 'is the repository that is copied from; name a second one');
  if (target.state !== 'damaged') return target;
  throw fieldError('conflict', [{ field, message: `names repository ${target.id}, which is damaged; repair it, or choose another place` }]);
}

async function namingKey<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isHoldfastError(error, 'conflict')) throw error;
    throw fieldError('conflict', [{ field: 'encryptionKey', message: `${error.message}; ${error.hint}` }]);
  }
}

function unfit(field: string, message: string) {
  return fieldError('request_invalid', [{ field, message }]);
}
