import type { Database } from '@holdfast/database/open-database';
import { listRepositories, repositoryPassword, storageCredentials, type RepositoryRow } from '@holdfast/database/repositories';
import type { MasterKey } from '@holdfast/database/sealed-secret';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { credentialsPlace, locationKey, parseStorageOptions } from '@holdfast/storage/storage-options';
import { openRepositoryAt } from './open-place.ts';

/** What was found at the place that a row names. */
export interface CheckedRepository {
  readonly id: string;
  readonly businessEntityId: string;
  readonly location: string;
  /** `opens`: with the password of the row, and it is the one that was written to. `unused`: nothing was ever written there. */
  readonly state: 'opens' | 'unused' | 'not_there';
  /** For `not_there`: what is wrong. */
  readonly reason: string | null;
}

/** A person waits, and storages that are away must not add up. */
const timeoutMs = 30_000;

/** Looks at every repository that the rows name, and writes nothing. What cannot be opened is a result. Errors: those of the database. */
export async function checkRepositories(
  database: Database,
  masterKey: MasterKey,
  { signal, onChecked }: { readonly signal: AbortSignal; readonly onChecked: (checked: CheckedRepository) => void },
): Promise<CheckedRepository[]> {
  const checked: CheckedRepository[] = [];
  let cursor: string | undefined;
  do {
    const page = await listRepositories(database.client, '*', {}, { cursor });
    for (const row of page.items) {
      signal.throwIfAborted();
      const found = await checkRepository(database, masterKey, row, signal);
      onChecked(found);
      checked.push(found);
    }
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return checked;
}

async function checkRepository(
  database: Database,
  masterKey: MasterKey,
  row: RepositoryRow,
  signal: AbortSignal,
): Promise<CheckedRepository> {
  const { id, businessEntityId, resticId } = row;
  const named = { id, businessEntityId, location: row.locationKey };
  try {
    const storageOptions = parseStorageOptions(row.storageOptions);
    const location = locationKey(storageOptions);
    const credentials = await storageCredentials(database.client, id, credentialsPlace(storageOptions) ?? '', masterKey);
    const password = await repositoryPassword(database.client, id, masterKey);
    const place = { storageOptions, storageCredentials: credentials === null ? undefined : (JSON.parse(credentials) as unknown) };
    await using repository = await openRepositoryAt(place, password, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
    if (resticId === null || resticId === repository.id) return { ...named, location, state: 'opens', reason: null };
    return { ...named, location, state: 'not_there', reason: `another repository lies there (${repository.id.slice(0, 8)})` };
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = asHoldfastError(error);
    if (code === 'database_unreachable') throw error;
    if (code === 'repository_missing' && resticId === null) return { ...named, state: 'unused', reason: null };
    return { ...named, state: 'not_there', reason: `${code}: ${message}` };
  }
}
