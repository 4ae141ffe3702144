import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { assertListPrefix, assertObjectName } from './object-name.ts';
import type { CallOptions, GetOptions, Storage, StoredObject } from './storage.ts';

interface MemoryObject {
  readonly bytes: Uint8Array;
  readonly modifiedAt: Date;
}

/** A storage in memory, for tests. `now` dates its objects. */
export function openMemoryStorage(options: { now?: () => Date } = {}): Storage {
  return new MemoryStorage(options.now ?? (() => new Date()));
}

class MemoryStorage implements Storage {
  readonly location = 'memory:';
  readonly #objects = new Map<string, MemoryObject>();
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  async put(name: string, bytes: Uint8Array | readonly Uint8Array[], options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    options.signal?.throwIfAborted();
    if (this.#objects.has(name))
      throw new HoldfastError('storage_object_exists', `${name} is there already`, { context: { object: name } });
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes;
    this.#objects.set(name, { bytes: new Uint8Array(Buffer.concat(parts)), modifiedAt: this.#now() });
  }

  async get(name: string, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const { bytes } = this.#find(name);
    if (range === undefined) return bytes.slice();
    const end = range.offsetBytes + range.lengthBytes;
    if (end <= bytes.byteLength) return bytes.slice(range.offsetBytes, end);
    throw new HoldfastError('storage_object_too_short', `${name} ends before the bytes asked for`, { context: { object: name, ...range } });
  }

  async stat(name: string, options: CallOptions = {}): Promise<StoredObject> {
    options.signal?.throwIfAborted();
    const { bytes, modifiedAt } = this.#find(name);
    return { name, sizeBytes: bytes.byteLength, modifiedAt };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoredObject> {
    assertListPrefix(prefix);
    for (const [name, { bytes, modifiedAt }] of this.#objects) {
      options.signal?.throwIfAborted();
      if (name.startsWith(prefix)) yield { name, sizeBytes: bytes.byteLength, modifiedAt };
    }
    options.signal?.throwIfAborted();
  }

  async delete(name: string, options: CallOptions = {}): Promise<void> {
    assertObjectName(name);
    options.signal?.throwIfAborted();
    this.#objects.delete(name);
  }

  async close(): Promise<void> {}

  #find(name: string): MemoryObject {
    assertObjectName(name);
    const found = this.#objects.get(name);
    if (found === undefined) throw new HoldfastError('storage_object_missing', `${name} is not there`, { context: { object: name } });
    return found;
  }
}
