import { posix } from 'node:path';
import type { FileStorer } from './file-storer.ts';
import { joinPath } from './source-node.ts';

/**
 * Stores files of a source of which only some are on a disk: those of folders that it streams one by one through `streamed`, all others
 * through `threads`, which open them by themselves. How many are streamed at once is the source's to say: its `openFile` lets readers wait.
 */
export function createSplitStorer(
  { threads, streamed }: { readonly threads: FileStorer; readonly streamed: FileStorer },
  isStreamed: (folder: string) => boolean,
): FileStorer {
  return {
    store: async (path, options) => {
      const storer = isStreamed(posix.dirname(path)) ? streamed : threads;
      return await storer.store(path, options);
    },
    storeRun: async (folder, files, options) => {
      if (!isStreamed(folder)) {
        if (threads.storeRun !== undefined) return await threads.storeRun(folder, files, options);
        return await Promise.all(files.map(({ name, sizeBytes }) => threads.store(joinPath(folder, name), { ...options, sizeBytes })));
      }
      return await Promise.all(files.map(({ name, sizeBytes }) => streamed.store(joinPath(folder, name), { ...options, sizeBytes })));
    },
  };
}
