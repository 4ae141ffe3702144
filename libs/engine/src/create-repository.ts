import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Clock } from './clock.ts';
import type { OpenRepositoryOptions, Repository } from './repository.ts';

export interface CreateRepositoryOptions extends OpenRepositoryOptions {
  /** Written into the key file, in the clear. */
  readonly hostname: string;
  readonly username: string;
  readonly clock?: Clock;
}

/**
 * Makes a repository and opens it. The config is written last: what a crash leaves before it is taken up by the next call.
 * Of two callers that race, one gets the repository, the other repository_exists. Errors: repository_exists, those of the storage.
 */
export async function createRepository(options: CreateRepositoryOptions): Promise<Repository> {
  throw new HoldfastError('internal', `not written yet: ${options.storage.location}`);
}

/** Opens the repository, or makes it when there is none; the way of callers that may race. Errors: as openRepository. */
export async function openOrCreateRepository(options: CreateRepositoryOptions): Promise<Repository> {
  throw new HoldfastError('internal', `not written yet: ${options.storage.location}`);
}
