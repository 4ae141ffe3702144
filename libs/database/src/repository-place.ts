import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { advisoryLocks } from './advisory-lock.ts';
import type { Transaction } from './open-database.ts';

export interface RepositoryPlace {
  readonly businessEntityId: string;
  /** Canonical form of the storage options; a folder below another begins with its key and a slash. */
  readonly locationKey: string;
  readonly encryptionEnabled: boolean;
}

/**
 * Refuses a place at which, above which or below which another repository lies. Without this an entity could name another's folder: with
 * encryption off on both sides it would read the other's backups, and its cleanup would remove them.
 * Holds a lock until the transaction ends, so that two who ask at once do not both find the place free. Code: conflict, which does not
 * say whose the other repository is.
 */
export async function refuseTakenPlace(
  tx: Transaction,
  { businessEntityId, locationKey, encryptionEnabled }: RepositoryPlace,
): Promise<void> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${advisoryLocks.placeRepository}::bigint)`;
  const taken = await tx.$queryRaw<unknown[]>`
    SELECT 1 FROM "repositories"
    WHERE NOT ("businessEntityId" = ${businessEntityId} AND "locationKey" = ${locationKey} AND "encryptionEnabled" = ${encryptionEnabled})
      AND (starts_with(rtrim("locationKey", '/') || '/', rtrim(${locationKey}, '/') || '/')
        OR starts_with(rtrim(${locationKey}, '/') || '/', rtrim("locationKey", '/') || '/'))
    LIMIT 1`;
  if (taken.length === 0) return;
  throw new HoldfastError('conflict', 'another repository lies at, above or below this place', {
    hint: 'choose a place of its own for each entity and encryption choice',
  });
}
