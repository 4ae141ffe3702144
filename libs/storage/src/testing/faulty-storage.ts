import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CallOptions, GetOptions, Storage, StoredObject } from '../storage.ts';

/**
 * A storage that fails when a test says so, round any other one. Every put, get, stat, list and delete counts as one
 * operation, numbered from 1; a crash sweep runs the same work with a fault at 1, 2, 3, … until the work passes.
 */
export interface FaultyStorage extends Storage {
  /** Operations begun so far. */
  readonly operationCount: number;
  /** Operations begun so far, in order. */
  readonly operations: readonly StorageOperation[];
  /** Whether a `crash` fault has struck. */
  readonly isCrashed: boolean;
}

export interface StorageOperation {
  readonly number: number;
  readonly kind: 'put' | 'get' | 'stat' | 'list' | 'delete';
  /** The object's name, or the prefix of a list. */
  readonly name: string;
}

/**
 * `before`: fails with nothing done. `after`: done in full, but the caller hears of a failure (an answer lost on the way).
 * `crash-before`, `crash-after`: the same, and every later operation fails as well, as for a process that died.
 */
export type Fault = 'before' | 'after' | 'crash-before' | 'crash-after';

/** Which fault an operation meets; undefined for none. */
export type FaultRule = (operation: StorageOperation) => Fault | undefined;

/** The rule that gives `fault` to operation `number` alone. */
export function faultAt(number: number, fault: Fault): FaultRule {
  return (operation) => (operation.number === number ? fault : undefined);
}

/** `error` makes what a faulty operation throws; storage_unreachable when not given. */
export function openFaultyStorage(
  inner: Storage,
  rule: FaultRule,
  error: (operation: StorageOperation) => Error = unreachable,
): FaultyStorage {
  return new RuledStorage(inner, rule, error);
}

function unreachable({ kind, name, number }: StorageOperation): Error {
  return new HoldfastError('storage_unreachable', `planned fault at operation ${String(number)}: ${kind} ${JSON.stringify(name)}`);
}

class RuledStorage implements FaultyStorage {
  readonly operations: StorageOperation[] = [];
  isCrashed = false;
  readonly #inner: Storage;
  readonly #rule: FaultRule;
  readonly #error: (operation: StorageOperation) => Error;

  constructor(inner: Storage, rule: FaultRule, error: (operation: StorageOperation) => Error) {
    this.#inner = inner;
    this.#rule = rule;
    this.#error = error;
  }

  get location(): string {
    return this.#inner.location;
  }

  get operationCount(): number {
    return this.operations.length;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options?: CallOptions): Promise<void> {
    await this.#run('put', name, () => this.#inner.put(name, bytes, options));
  }

  async get(name: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#run('get', name, () => this.#inner.get(name, options));
  }

  async stat(name: string, options?: CallOptions): Promise<StoredObject> {
    return this.#run('stat', name, () => this.#inner.stat(name, options));
  }

  async *list(prefix: string, options?: CallOptions): AsyncIterable<StoredObject> {
    const { operation, fault } = this.#begin('list', prefix);
    if (fault === 'before') throw this.#error(operation);
    yield* this.#inner.list(prefix, options);
    // After the last object: a listing that breaks off must not be taken for a whole one.
    if (fault === 'after') throw this.#error(operation);
  }

  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.#run('delete', name, () => this.#inner.delete(name, options));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #run<T>(kind: StorageOperation['kind'], name: string, work: () => Promise<T>): Promise<T> {
    const { operation, fault } = this.#begin(kind, name);
    if (fault === 'before') throw this.#error(operation);
    const result = await work();
    if (fault === 'after') throw this.#error(operation);
    return result;
  }

  #begin(kind: StorageOperation['kind'], name: string): { operation: StorageOperation; fault: 'before' | 'after' | undefined } {
    const operation: StorageOperation = { number: this.operations.length + 1, kind, name };
    this.operations.push(operation);
    if (this.isCrashed) return { operation, fault: 'before' };
    const fault = this.#rule(operation);
    if (fault === 'crash-before' || fault === 'crash-after') this.isCrashed = true;
    if (fault === undefined) return { operation, fault };
    return { operation, fault: fault.endsWith('before') ? 'before' : 'after' };
  }
}
