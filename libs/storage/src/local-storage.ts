import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Storage } from './storage.ts';

export interface LocalStorageOptions {
  /** The repository's folder, checked already; made when it is not there. */
  readonly path: string;
}

/** Opens a folder as a storage. Errors: storage_denied, storage_full, storage_unreachable. */
export async function openLocalStorage(options: LocalStorageOptions): Promise<Storage> {
  throw new HoldfastError('internal', `not built: ${options.path}`);
}

/** Removes temporary files that a killed process left more than an hour ago; returns how many. */
export async function sweepStaleTemporaries(path: string, options: { now: Date; signal?: AbortSignal }): Promise<number> {
  throw new HoldfastError('internal', `not built: ${path} ${options.now.toISOString()}`);
}
