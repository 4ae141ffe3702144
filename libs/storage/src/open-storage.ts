import { openLocalStorage } from './local/local-storage.ts';
import type { StorageOptions } from './storage-options.ts';
import type { Storage } from './storage.ts';

/**
 * Opens the storage that `options` name. `checkPath` says whether a local folder may be used and gives its real path; it is
 * the allowed storage roots' word (`(path) => resolveInsideRoots(path, roots)`), and there is no way round it.
 * Errors: what `checkPath` throws (path_outside_roots), storage_denied, storage_unreachable.
 */
export async function openStorage(
  options: StorageOptions,
  { checkPath }: { readonly checkPath: (path: string) => Promise<string> },
): Promise<Storage> {
  return openLocalStorage({ path: await checkPath(options.path) });
}
