import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { type HoldingStorage, isHolding } from '../hold.ts';
import { isTransientName } from '../object-name.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StoredObject, ThreadStorageOptions } from '../storage.ts';

/**
 * A storage that can put and not delete, but for locks of runs and what a trial of a place leaves: what restic calls append-only. Nothing
 * that this process does, be it a defect or a request that should not have been made, takes a backup away. What others do with the same
 * credentials, only the rights at the storage can forbid.
 *
 * It sweeps no temporary files: a put that runs elsewhere must not lose its own.
 */
export function openAppendOnlyStorage(inner: Storage): Storage {
  return new AppendOnlyStorage(inner);
}

/** What `delete` throws, and whoever would have to delete before it begins. */
export function appendOnlyError(location: string, what: string): HoldfastError {
  return new HoldfastError('storage_append_only', `${what}: ${location} is append-only by its options`, { context: { location } });
}

class AppendOnlyStorage implements Storage {
  readonly threadOptions?: ThreadStorageOptions;
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #inner: Storage;

  constructor(inner: Storage) {
    this.#inner = inner;
    // Other threads read objects and write them, and have no way to delete.
    if (inner.threadOptions !== undefined) this.threadOptions = inner.threadOptions;
    if (isHolding(inner)) {
      this.holdOf = (name, options) => inner.holdOf(name, options);
      if (inner.renewHold !== undefined) this.renewHold = inner.renewHold;
    }
  }

  get location(): string {
    return this.#inner.location;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void> {
    await this.#inner.put(name, bytes, options);
  }

  async get(name: string, options?: GetOptions): Promise<Uint8Array> {
    return await this.#inner.get(name, options);
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return await this.#inner.stat(name, options);
  }

  list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    return this.#inner.list(prefix, options);
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    if (!isTransientName(name)) throw appendOnlyError(this.location, `${name} is not deleted`);
    await this.#inner.delete(name, options);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}
