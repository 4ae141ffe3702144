import { systemEntityId } from '@holdfast/database/scope';
import type { SourceOptions } from '@holdfast/sources/source-options';
import type { OwnDatabaseSourceOptions } from '@holdfast/sources/source-options/own-database';
import { fieldError } from '../problem.ts';
import type { SourceCheck } from './source-check.ts';

/** The worker reaches its own database by DATABASE_URL. */
export const ownDatabaseCheck: SourceCheck<OwnDatabaseSourceOptions> = {
  checkReach: () => undefined,
  password: { reason: 'is not needed for the database of the service' },
};

export interface OwnDatabaseConfig {
  readonly source: SourceOptions;
  readonly encryptionEnabled: boolean;
  readonly encryptionKey?: string | undefined;
}

/**
 * What a config of the service's own database must be: one of the entity `system`, since the backup holds every tenant's rows and the master
 * key; encrypted for the same reason; and, where what is `given` may lead to another repository, with a password that somebody knows, since
 * one that was made up is lost together with the service. Code: request_invalid.
 */
export function checkOwnDatabase(
  { source, encryptionEnabled, encryptionKey }: OwnDatabaseConfig,
  businessEntityId: string,
  given: Partial<Record<'source' | 'storageOptions' | 'encryptionEnabled', unknown>>,
): void {
  if (source.type !== 'own_database') return;
  if (businessEntityId !== systemEntityId) {
    throw refusal('source.type', `own_database is for configs of the entity ${systemEntityId}; make it with POST /entities/system`);
  }
  if (!encryptionEnabled) throw refusal('encryptionEnabled', 'must be true: the backup holds the master key of the service');
  const mayBeNew = given.source !== undefined || given.storageOptions !== undefined || given.encryptionEnabled !== undefined;
  if (mayBeNew && encryptionKey === undefined) {
    throw refusal('encryptionKey', 'is missing; send a password that you keep elsewhere: it is all that a rescue has');
  }
}

function refusal(field: string, message: string) {
  return fieldError('request_invalid', [{ field, message }]);
}
