import type { Cipher, MasterKeys } from '@holdfast/restic-format/cipher';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { Storage } from '@holdfast/storage/storage';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** An open restic repository of version 2: where it lives, and the keys to it. Safe to use by several calls at once. */
export interface Repository extends AsyncDisposable {
  readonly id: ObjectId;
  readonly storage: Storage;
  readonly cipher: Cipher;
  /** For a thread to make a cipher of its own from. */
  readonly masterKeys: MasterKeys;
  readonly chunkerPolynomial: bigint;
  /** Closes the storage too. Calling it twice is no error. */
  close(): Promise<void>;
}

export interface OpenRepositoryOptions {
  readonly storage: Storage;
  /** May be empty: the repository is then readable by everybody who reaches the storage. */
  readonly password: string;
  readonly signal?: AbortSignal;
}

/**
 * Opens the repository at `storage`, which the repository owns from then on; when it throws, the caller still does.
 * Errors: repository_missing, repository_password_wrong, repository_damaged, repository_unsupported, and those of the storage.
 */
export async function openRepository(options: OpenRepositoryOptions): Promise<Repository> {
  throw new HoldfastError('internal', `not written yet: ${options.storage.location}`);
}
