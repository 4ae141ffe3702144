import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from '../blob-index.ts';
import type { ArchiveCall } from './archive-calls.ts';

/** What one call stores. */
const batchBytes = 512 * 1024;
/** Larger trees are stored in the leading thread: the threads have no room for them, and there are few. */
const maxTreeBytes = 4 * 1024 * 1024;
/** Calls on their way; beyond this the walk waits. */
const maxCalls = 16;

export interface TreeBatchesOptions {
  readonly index: BlobIndex;
  readonly call: (call: ArchiveCall & { kind: 'trees' }, isFull: boolean) => Promise<unknown>;
}

/** Gathers trees that are new and sends them to the threads, many at a time. */
export class TreeBatches {
  readonly #options: TreeBatchesOptions;
  readonly #taken = new Set<ObjectId>();
  readonly #calls = new Set<Promise<void>>();
  #trees: { id: ObjectId; bytes: Uint8Array }[] = [];
  #bytes = 0;
  #failure: { error: unknown } | undefined;

  constructor(options: TreeBatchesOptions) {
    this.#options = options;
  }

  /** Returns whether the tree is new. One that is too large for a call goes to `saveLarge`. */
  async save(id: ObjectId, bytes: Uint8Array, saveLarge: () => Promise<unknown>): Promise<boolean> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#taken.has(id) || this.#options.index.has('tree', id)) return false;
    this.#taken.add(id);
    if (bytes.length > maxTreeBytes) {
      await saveLarge();
      return true;
    }
    this.#trees.push({ id, bytes });
    this.#bytes += bytes.length;
    if (this.#bytes >= batchBytes) this.#send(true);
    while (this.#calls.size >= maxCalls) await Promise.race(this.#calls);
    return true;
  }

  /** When it resolves, the threads have all trees. */
  async flush(): Promise<void> {
    if (this.#trees.length > 0) this.#send(false);
    await Promise.all(this.#calls);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #send(isFull: boolean): void {
    const trees = this.#trees;
    this.#trees = [];
    this.#bytes = 0;
    const request = {
      kind: 'trees',
      bytes: Buffer.concat(trees.map((tree) => tree.bytes)),
      lengths: Uint32Array.from(trees, (tree) => tree.bytes.length),
      ids: Buffer.from(trees.map((tree) => tree.id).join(''), 'hex'),
    } as const;
    const call = this.#run(request, isFull).finally(() => this.#calls.delete(call));
    this.#calls.add(call);
  }

  /** Never rejects: the next save or flush does. */
  async #run(call: ArchiveCall & { kind: 'trees' }, isFull: boolean): Promise<void> {
    try {
      await this.#options.call(call, isFull);
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}
