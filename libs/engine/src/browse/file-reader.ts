import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from '../blob-index.ts';
import { createBlobLoader, type BlobLoader } from '../blob-loader.ts';
import type { Repository } from '../repository.ts';
import type { CurrentIndex } from './current-index.ts';
import { assertRange, blobsOfRange, contentOf, type ByteRange } from './file-content.ts';
import type { ReadLease } from './read-lease.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

/** Blobs on their way ahead of the one that is given: hides the storage's latency, at a few MiB a file. */
const blobsAhead = 2;

export class FileReader {
  readonly #repository: Repository;
  readonly #index: CurrentIndex;
  readonly #snapshots: SnapshotTrees;
  readonly #lease: ReadLease;

  constructor({
    repository,
    index,
    snapshots,
    lease,
  }: {
    repository: Repository;
    index: CurrentIndex;
    snapshots: SnapshotTrees;
    lease: ReadLease;
  }) {
    this.#repository = repository;
    this.#index = index;
    this.#snapshots = snapshots;
    this.#lease = lease;
  }

  async *read(snapshotId: ObjectId, path: string, range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    using part = await this.#lease.acquire(signal);
    const file = await this.#snapshots.withTop(snapshotId, part.signal, async (topId) =>
      contentOf(await this.#snapshots.find(topId, path, part.signal)),
    );
    assertRange(range, file.sizeBytes);
    const { blobs, loader } = await this.#index.use(part.signal, async (index) => ({
      blobs: blobsOfRange(index, file, range),
      loader: this.#loaderOf(index),
    }));
    const ahead: Promise<Uint8Array>[] = [];
    let next = 0;
    for (const [given, { from, to }] of blobs.entries()) {
      for (; next < blobs.length && next <= given + blobsAhead; next++) {
        const loading = loader.load('data', blobs[next]?.id ?? '', part.signal);
        // Heard of when its turn comes; if it does not come, nobody needs it.
        loading.catch(() => undefined);
        ahead.push(loading);
      }
      const bytes = await ahead.shift();
      part.signal.throwIfAborted();
      if (bytes !== undefined) yield bytes.subarray(from, to);
    }
  }

  #loaderOf(index: BlobIndex): BlobLoader {
    return createBlobLoader(this.#repository, index);
  }
}
