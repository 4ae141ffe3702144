import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobCounts, BlobSink } from './blob-sink.ts';
import type { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface StoredTree {
  readonly treeId: ObjectId;
  /** Whole when it is finished. */
  readonly counts: BlobCounts;
  /** For the next backup; undefined when what is recorded already is right. */
  readonly recorded: RecordedFolder | undefined;
  /** Makes it durable; to be called once. */
  readonly finish: (signal: AbortSignal) => Promise<void>;
  /** Ends what was opened to store it, in every case. */
  readonly close: () => Promise<void>;
}

export interface OpenedSink {
  readonly sink: BlobSink;
  close(): Promise<void>;
}

/** Opens where blobs go and has `store` store a tree there. The signal that both get ends the uploads too; what was opened is closed when this throws. */
export async function storeWith<Opened extends OpenedSink>(
  outerSignal: AbortSignal,
  open: (signal: AbortSignal) => Promise<Opened>,
  store: (opened: Opened, signal: AbortSignal) => Promise<Pick<StoredTree, 'treeId' | 'recorded'>>,
): Promise<StoredTree> {
  // Ends the uploads when the work fails.
  const ended = new AbortController();
  const signal = AbortSignal.any([outerSignal, ended.signal]);
  const opened = await open(signal);
  const { sink } = opened;
  const close = async (): Promise<void> => {
    ended.abort(new HoldfastError('internal', 'the archive call has ended'));
    await sink.settle();
    await opened.close();
  };
  try {
    const finish = async (finishSignal: AbortSignal): Promise<void> => {
      const onAbort = (): void => ended.abort(finishSignal.reason);
      finishSignal.addEventListener('abort', onAbort, { once: true });
      try {
        finishSignal.throwIfAborted();
        await sink.finish();
      } finally {
        finishSignal.removeEventListener('abort', onAbort);
      }
    };
    return { ...(await store(opened, signal)), counts: sink.counts, finish, close };
  } catch (error) {
    await close();
    throw error;
  }
}
