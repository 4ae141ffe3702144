import { type HoldingStorage, isHolding } from '../hold.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StoredObject } from '../storage.ts';
import { isSweepable, type SweepableStorage } from '../sweep.ts';
import { createTokenBucket, type TokenBucket } from './token-bucket.ts';

/** Bytes per second in each direction; without a limit where it is left out. */
export interface BandwidthLimits {
  readonly uploadBytesPerSecond?: number | undefined;
  readonly downloadBytesPerSecond?: number | undefined;
}

/**
 * A lock that is not renewed in time is lost, and the run with it: locks, some hundred bytes each, do not queue behind packs. They
 * are counted all the same.
 */
const unhinderedPrefix = 'locks/';

/**
 * Limits how fast objects go into a storage and come out of it, for all calls together: one bucket a direction. An object goes out
 * whole, when its turn has come: it waits until all its bytes but the burst's are due, so the rate holds on average, and no moment
 * sees more than an object a call. Only the bytes of objects count, not names and listings.
 *
 * It has no `threadOptions`, whatever the storage has: threads hand their bytes over to this one, and none gets by.
 */
export function openLimitingStorage(inner: Storage, limits: BandwidthLimits): Storage {
  return new LimitingStorage(inner, limits);
}

class LimitingStorage implements Storage {
  readonly sweep?: SweepableStorage['sweep'];
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #inner: Storage;
  readonly #up: TokenBucket | undefined;
  readonly #down: TokenBucket | undefined;

  constructor(inner: Storage, { uploadBytesPerSecond, downloadBytesPerSecond }: BandwidthLimits) {
    this.#inner = inner;
    if (isSweepable(inner)) this.sweep = (olderThan, options) => inner.sweep(olderThan, options);
    if (isHolding(inner)) {
      this.holdOf = (name, options) => inner.holdOf(name, options);
      if (inner.renewHold !== undefined) this.renewHold = inner.renewHold;
    }
    this.#up = uploadBytesPerSecond === undefined ? undefined : createTokenBucket(uploadBytesPerSecond);
    this.#down = downloadBytesPerSecond === undefined ? undefined : createTokenBucket(downloadBytesPerSecond);
  }

  get location(): string {
    return this.#inner.location;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    await pass(
      this.#up,
      name,
      parts.reduce((sum, part) => sum + part.byteLength, 0),
      options?.signal,
    );
    await this.#inner.put(name, bytes, options);
  }

  async get(name: string, options?: GetOptions): Promise<Uint8Array> {
    const lengthBytes = options?.range?.lengthBytes;
    if (lengthBytes !== undefined) await pass(this.#down, name, lengthBytes, options?.signal);
    const bytes = await this.#inner.get(name, options);
    // Only now is the length of a whole object known.
    if (lengthBytes === undefined) await pass(this.#down, name, bytes.byteLength, options?.signal);
    return bytes;
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return await this.#inner.stat(name, options);
  }

  list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    return this.#inner.list(prefix, options);
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.#inner.delete(name, options);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

async function pass(bucket: TokenBucket | undefined, name: string, sizeBytes: number, signal: AbortSignal | undefined): Promise<void> {
  if (name.startsWith(unhinderedPrefix)) bucket?.spend(sizeBytes);
  else await bucket?.take(sizeBytes, signal);
}
