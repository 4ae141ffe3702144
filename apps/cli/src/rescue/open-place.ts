import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { openRepository, type Repository } from '@holdfast/engine/repository';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { openStorage } from '@holdfast/storage/open-storage';
import { checkStorageCredentials, parseStorageOptions, type StorageOptions } from '@holdfast/storage/storage-options';
import { z } from 'zod';
import { openReadOnlyStorage } from './read-only-storage.ts';

/** Where a repository lies and what lets us in there. */
export interface Place {
  readonly storageOptions: StorageOptions;
  /** Undefined for a folder. */
  readonly storageCredentials: unknown;
}

/** Options and credentials are a few KiB; anything longer is another file. */
const maxFileBytes = 1024 * 1024;
/** A person waits: long enough for a server that is being started, short enough to be told of a wrong address. */
const giveUpAfterMs = 20_000;

const placeFileSchema = z.strictObject({ storageOptions: z.unknown(), storageCredentials: z.unknown().optional() });

/**
 * Reads `--repository`: the path of a folder, or of a JSON file `{ "storageOptions": { "type": "s3", ... }, "storageCredentials": { ... } }` with the fields
 * that a config has. Codes: path_not_found, path_not_readable, request_invalid, type_not_supported.
 */
export async function readPlace(text: string): Promise<Place> {
  const path = resolve(text);
  const found = await stat(path).catch((error: unknown) => {
    const code = errnoCode(error) === 'ENOENT' ? 'path_not_found' : 'path_not_readable';
    throw new HoldfastError(code, `--repository: ${path} cannot be looked at (${errnoCode(error) ?? 'unknown'})`, {
      hint: 'name the folder of the repository, or a JSON file with storageOptions and storageCredentials; docs/rescue.md shows one',
    });
  });
  if (found.isDirectory()) return { storageOptions: parseStorageOptions({ type: 'local', path }), storageCredentials: undefined };
  if (found.size > maxFileBytes) throw unfit(path, `has more than ${maxFileBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    // What the parser says would repeat a piece of the file, which holds secrets.
    throw unfit(path, 'is no JSON');
  }
  const parsed = placeFileSchema.safeParse(value);
  if (!parsed.success) throw unfit(path, `does not fit: ${z.prettifyError(parsed.error)}`);
  const storageOptions = parseStorageOptions(parsed.data.storageOptions);
  const { storageCredentials } = parsed.data;
  const checked = checkStorageCredentials(storageOptions.type, storageCredentials);
  if ('credentials' in checked) return { storageOptions, storageCredentials: checked.credentials ?? undefined };
  const named = checked.issues.map(({ path: at, message }) => `${['storageCredentials', ...at].join('.')}: ${message}`);
  throw unfit(path, `does not fit a storage of type ${storageOptions.type}: ${named.join('; ')}`);
}

/** Opens a repository to be read, and only that. Codes: those of openRepository and of the storage. */
export async function openRepositoryAt(place: Place, password: string, signal: AbortSignal): Promise<Repository> {
  const storage = await openStorage(place.storageOptions, {
    // The operator of the machine has named it.
    checkPath: (path) => resolveInsideRoots(path, ['/']),
    checkServer: () => undefined,
    credentials: () => Promise.resolve(place.storageCredentials),
    allowAmbientCredentials: true,
    giveUpAfterMs,
  });
  try {
    return await openRepository({ storage: openReadOnlyStorage(storage), password, signal });
  } catch (error) {
    await storage.close();
    throw error;
  }
}

function unfit(path: string, what: string): HoldfastError {
  return new HoldfastError('request_invalid', `--repository: ${path} ${what}`, {
    hint: 'it holds { "storageOptions": { "type": "s3", ... }, "storageCredentials": { ... } }: docs/storages.md has the fields of each type',
  });
}
