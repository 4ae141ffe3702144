import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { type HoldingStorage, isHolding } from '../hold.ts';
import type { CallOptions, GetOptions, PutOptions, Storage, StoredObject, StorageOperation } from '../storage.ts';
import { isSweepable, type SweepableStorage } from '../sweep.ts';

/**
 * Tries calls again that failed with storage_unreachable, each as a whole and from its start: what a line that was cut had carried is
 * not trusted. Every other error is final at once: which one may pass is the adapter's word.
 *
 * A put whose answer was lost may have been done. When its next try finds the name taken, the object's bytes decide: the same bytes are
 * ours, and others are storage_object_exists.
 *
 * A put that is given up may still have been done, or be done by the server later: its name, a hash or made at random, is nobody else's.
 */
export interface RetryPolicy {
  /** Before try n + 1: a random share, at least half, of `firstDelayMs × 2^(n - 1)`, of `maxDelayMs` at most. */
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** No try begins later than this after the first failure; the last error is thrown then. */
  readonly giveUpAfterMs: number;
  readonly onRetry?: (retry: Retry) => void;
  readonly sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly nowMs?: () => number;
  readonly random?: () => number;
}

export interface Retry {
  readonly operation: StorageOperation;
  /** The object, or the prefix of a listing. */
  readonly name: string;
  /** Tries that failed so far. */
  readonly failureCount: number;
  readonly delayMs: number;
  readonly error: unknown;
}

/** A restart of a server or a switch takes a minute or two. A job that fails after it is itself tried again. */
export const defaultRetryPolicy: RetryPolicy = { firstDelayMs: 250, maxDelayMs: 15_000, giveUpAfterMs: 5 * 60_000 };

export function openRetryingStorage(inner: Storage, policy: RetryPolicy = defaultRetryPolicy): Storage {
  return new RetryingStorage(inner, policy);
}

class RetryingStorage implements Storage {
  readonly sweep?: SweepableStorage['sweep'];
  readonly holdOf?: HoldingStorage['holdOf'];
  readonly renewHold?: NonNullable<HoldingStorage['renewHold']>;
  readonly #inner: Storage;
  readonly #policy: RetryPolicy;
  readonly #closed = new AbortController();

  constructor(inner: Storage, policy: RetryPolicy) {
    this.#inner = inner;
    if (isSweepable(inner)) this.sweep = (olderThan, options) => inner.sweep(olderThan, options);
    if (isHolding(inner)) {
      this.holdOf = (name, options) => this.#retries('stat', name, options?.signal).run(() => inner.holdOf(name, options));
      const { renewHold } = inner;
      if (renewHold !== undefined) {
        this.renewHold = (name, options) => this.#retries('put', name, options?.signal).run(() => renewHold(name, options));
      }
    }
    this.#policy = policy;
  }

  get location(): string {
    return this.#inner.location;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const retries = this.#retries('put', name, options?.signal);
    await retries.run(async () => {
      try {
        await this.#inner.put(name, bytes, options);
      } catch (error) {
        const mayBeOurs = retries.failureCount > 0 && isHoldfastError(error, 'storage_object_exists');
        if (!mayBeOurs || !(await this.#holds(name, bytes, options))) throw error;
      }
    });
  }

  async get(name: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#retries('get', name, options?.signal).run(() => this.#inner.get(name, options));
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return this.#retries('stat', name, options?.signal).run(() => this.#inner.stat(name, options));
  }

  /** A listing that broke off begins again and leaves out what it gave already. */
  async *list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    const retries = this.#retries('list', prefix, options?.signal);
    const given = new Set<string>();
    let objects = this.#inner.list(prefix, options)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await retries.run(async () => {
          try {
            return await objects.next();
          } catch (error) {
            objects = this.#inner.list(prefix, options)[Symbol.asyncIterator]();
            throw error;
          }
        });
        if (next.done === true) return;
        if (given.has(next.value.name)) continue;
        given.add(next.value.name);
        yield next.value;
      }
    } finally {
      await objects.return?.();
    }
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.#retries('delete', name, options?.signal).run(() => this.#inner.delete(name, options));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#inner.close();
  }

  #retries(operation: StorageOperation, name: string, signal: AbortSignal | undefined): Retries {
    const signals = signal === undefined ? [this.#closed.signal] : [this.#closed.signal, signal];
    return new Retries(this.#policy, operation, name, AbortSignal.any(signals));
  }

  async #holds(name: string, bytes: Uint8Array | readonly Uint8Array[], options: CallOptions | undefined): Promise<boolean> {
    const stored = await this.#inner.get(name, options);
    return Buffer.concat(bytes instanceof Uint8Array ? [bytes] : bytes).equals(stored);
  }
}

/** The tries of one call. A success begins a new count: the pages of a listing fail each for itself. */
class Retries {
  failureCount = 0;
  readonly #policy: RetryPolicy;
  readonly #operation: StorageOperation;
  readonly #name: string;
  readonly #signal: AbortSignal;

  constructor(policy: RetryPolicy, operation: StorageOperation, name: string, signal: AbortSignal) {
    this.#policy = policy;
    this.#operation = operation;
    this.#name = name;
    this.#signal = signal;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const { firstDelayMs, maxDelayMs, giveUpAfterMs, onRetry } = this.#policy;
    const { nowMs = () => performance.now(), random = Math.random, sleep: wait = waitFor } = this.#policy;
    let giveUpAtMs: number | undefined;
    for (this.failureCount = 0; ;) {
      try {
        return await work();
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!isHoldfastError(error, 'storage_unreachable')) throw error;
        this.failureCount += 1;
        const longestMs = Math.min(firstDelayMs * 2 ** (this.failureCount - 1), maxDelayMs);
        const delayMs = Math.round(longestMs * (0.5 + random() / 2));
        giveUpAtMs ??= nowMs() + giveUpAfterMs;
        if (nowMs() + delayMs > giveUpAtMs) throw error;
        onRetry?.({ operation: this.#operation, name: this.#name, failureCount: this.failureCount, delayMs, error });
        await wait(delayMs, this.#signal);
      }
    }
  }
}

async function waitFor(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
