import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { type HoldingStorage, isHolding } from '../hold.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StoredObject, StorageOperation } from '../storage.ts';
import { isSweepable, type SweepableStorage } from '../sweep.ts';

/** One call as it went: below the retrying storage, one try. */
export interface MeteredCall {
  readonly operation: StorageOperation;
  /** Of the object that was put or got; zero for the rest, and for a call that failed. */
  readonly sizeBytes: number;
  /** Of a listing: from its begin to its end, with what the caller did in between. */
  readonly durationMs: number;
  /** Of what it failed with; `cancelled` for a call that was aborted. */
  readonly errorCode?: string;
}

/** Tells of every call when it has ended. A missing object, an answer like others, counts as an error of that code. */
export function openMeteringStorage(inner: Storage, onCall: (call: MeteredCall) => void): Storage {
  return new MeteringStorage(inner, onCall);
}

class MeteringStorage implements Storage {
  readonly sweep?: SweepableStorage['sweep'];
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #inner: Storage;
  readonly #onCall: (call: MeteredCall) => void;

  constructor(inner: Storage, onCall: (call: MeteredCall) => void) {
    this.#inner = inner;
    if (isSweepable(inner)) this.sweep = (olderThan, options) => inner.sweep(olderThan, options);
    if (isHolding(inner)) {
      this.holdOf = (name, options) => inner.holdOf(name, options);
      if (inner.renewHold !== undefined) this.renewHold = inner.renewHold;
    }
    this.#onCall = onCall;
  }

  get location(): string {
    return this.#inner.location;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    const sizeBytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    await this.#metered(
      'put',
      options,
      () => this.#inner.put(name, bytes, options),
      () => sizeBytes,
    );
  }

  async get(name: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#metered(
      'get',
      options,
      () => this.#inner.get(name, options),
      ({ byteLength }) => byteLength,
    );
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return this.#metered('stat', options, () => this.#inner.stat(name, options));
  }

  async *list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    const startedAtMs = performance.now();
    let failure: { readonly error: unknown } | undefined;
    try {
      yield* this.#inner.list(prefix, options);
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      this.#tell('list', startedAtMs, 0, options, failure);
    }
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.#metered('delete', options, () => this.#inner.delete(name, options));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #metered<T>(
    operation: StorageOperation,
    options: CallOptions | undefined,
    work: () => Promise<T>,
    sizeBytesOf: (result: T) => number = () => 0,
  ): Promise<T> {
    const startedAtMs = performance.now();
    try {
      const result = await work();
      this.#tell(operation, startedAtMs, sizeBytesOf(result), options);
      return result;
    } catch (error) {
      this.#tell(operation, startedAtMs, 0, options, { error });
      throw error;
    }
  }

  #tell(
    operation: StorageOperation,
    startedAtMs: number,
    sizeBytes: number,
    options: CallOptions | undefined,
    failure?: { readonly error: unknown },
  ): void {
    const call = { operation, sizeBytes, durationMs: performance.now() - startedAtMs };
    if (failure === undefined) return this.#onCall(call);
    this.#onCall({ ...call, errorCode: options?.signal?.aborted === true ? 'cancelled' : asHoldfastError(failure.error).code });
  }
}
