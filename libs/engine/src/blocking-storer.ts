import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { readOpenAttributes, type FoundAttributes } from '@holdfast/sources/extended-attributes';
import { readingError } from '@holdfast/sources/file-system-error';
import { openThreadFolder } from '@holdfast/sources/thread-folder';
import { isWithinOneCall } from '@holdfast/sources/verified-folder';
import { closeSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import type { BlobSink } from './blob-sink.ts';
import { withAttributes, type FileStorer, type StoredFile } from './file-storer.ts';

/** Read without a pause: this thread waits for the disk meanwhile, so only little at a time. */
const maxBlockingBytes = 64 * 1024;

/** Kept for all backups of this thread. Only ever used between two pauses. */
const buffer = new Uint8Array(maxBlockingBytes + 1);

/**
 * Stores tiny files of a file system with blocking calls: handing each of the six calls that it takes to another thread, and
 * hearing of it, costs ten times the call. Larger files, and those that have grown, go to `others`.
 */
export function createBlockingStorer({ sink, others }: { sink: BlobSink; others: FileStorer }): FileStorer {
  return {
    async store(path, call) {
      if (call.sizeBytes > maxBlockingBytes || !isWithinOneCall(path)) return await others.store(path, call);
      call.signal.throwIfAborted();
      let read: { sizeBytes: number; attributes: FoundAttributes };
      try {
        read = readWhole(path);
      } catch (error) {
        if (isHoldfastError(error, 'path_not_found') || isHoldfastError(error, 'path_not_readable'))
          return { kind: 'skipped', reason: error.message };
        throw error;
      }
      if (read.sizeBytes > maxBlockingBytes) return await others.store(path, call);
      return withAttributes(await saveRead(read.sizeBytes, sink, call.onBytes), read.attributes);
    },
  };
}

/** Reads the file to the buffer. Its size is more than maxBlockingBytes when there is more of it than that. */
function readWhole(path: string): { sizeBytes: number; attributes: FoundAttributes } {
  const folder = openThreadFolder(posix.dirname(path));
  try {
    const descriptor = folder.openFile(posix.basename(path));
    try {
      let done = 0;
      for (let read = -1; read !== 0 && done < buffer.length; done += read)
        read = readSync(descriptor, buffer, done, buffer.length - done, done);
      return { sizeBytes: done, attributes: readOpenAttributes(descriptor) };
    } catch (error) {
      throw readingError(error, path);
    } finally {
      closeSync(descriptor);
    }
  } finally {
    folder.close();
  }
}

async function saveRead(sizeBytes: number, sink: BlobSink, onBytes: (bytes: number) => void): Promise<StoredFile> {
  if (sizeBytes === 0) return { kind: 'stored', content: [], sizeBytes };
  // A copy: the sink may pause before it is done with it.
  const { id } = await sink.save('data', buffer.slice(0, sizeBytes));
  onBytes(sizeBytes);
  return { kind: 'stored', content: [id], sizeBytes };
}
