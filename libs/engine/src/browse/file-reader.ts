import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from '../blob-index.ts';
import { createBlobLoader } from '../blob-loader.ts';
import { isDamage } from '../damage.ts';
import type { Repository } from '../repository.ts';
import type { CurrentIndex } from './current-index.ts';
import { assertRange, blobsOfRange, contentOf, type ByteRange, type ContentBlob, type FileContent } from './file-content.ts';
import type { ReadLease } from './read-lease.ts';
import { readPieces } from './read-plan.ts';
import type { ReadThreads } from './read-threads.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

/** Less is unpacked in the calling thread, in some 5 ms: threads would have to be called for it. */
const minThreadedBytes = 2 * 1024 * 1024;

export interface FileReaderOptions {
  readonly repository: Repository;
  readonly index: CurrentIndex;
  readonly snapshots: SnapshotTrees;
  readonly lease: ReadLease;
  readonly threads: ReadThreads;
}

/** Reads files of snapshots. */
export class FileReader {
  readonly #options: FileReaderOptions;

  constructor(options: FileReaderOptions) {
    this.#options = options;
  }

  /** See SnapshotBrowser.read. */
  async *read(snapshotId: ObjectId, path: string, range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const { index, snapshots, lease } = this.#options;
    using part = await lease.acquire(signal);
    const file = await snapshots.withTop(snapshotId, part.signal, async (topId) =>
      contentOf(await snapshots.find(topId, path, part.signal)),
    );
    assertRange(range, file.sizeBytes);
    let seen = await index.get(part.signal);
    let { offsetBytes, lengthBytes } = range;
    for (let hasNewer = false; ;) {
      try {
        for await (const bytes of this.#pieces(seen.index, file, { offsetBytes, lengthBytes }, part.signal)) {
          offsetBytes += bytes.length;
          lengthBytes -= bytes.length;
          yield bytes;
        }
        return;
      } catch (error) {
        // A cleanup before the lock may have moved it; under the lock none can.
        const newer = isDamage(error) && !hasNewer ? await index.newerThan(seen, part.signal) : null;
        if (newer === null) throw error;
        seen = newer;
        hasNewer = true;
      }
    }
  }

  #pieces(index: BlobIndex, file: FileContent, range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const blobs = blobsOfRange(index, file, range);
    const plainBytes = blobs.reduce((sum, blob) => sum + blob.plainBytes, 0);
    if (plainBytes < minThreadedBytes) return this.#fewBlobs(index, blobs, signal);
    return this.#options.threads.read(readPieces(index, blobs), signal);
  }

  async *#fewBlobs(index: BlobIndex, blobs: readonly ContentBlob[], signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const loader = createBlobLoader(this.#options.repository, index);
    for (const { id, from, to } of blobs) {
      const bytes = await loader.load('data', id, signal);
      signal.throwIfAborted();
      yield bytes.subarray(from, to);
    }
  }
}
