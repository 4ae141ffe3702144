import { openStorage } from '../../libs/storage/src/open-storage.ts';
import type { Storage } from '../../libs/storage/src/storage.ts';
import type { OurPlace } from './storage-place.ts';

/** The storage at a place of the bench's own, with all that is round it in a worker. The caller closes it. */
export async function openPlace({ options, credentials }: OurPlace): Promise<Storage> {
  return await openStorage(options, {
    checkPath: async (path) => path,
    checkServer: () => {},
    credentials: async () => credentials,
    allowAmbientCredentials: false,
    // Into the log of a run: a run with one is no measure.
    onRetry: ({ operation, name, error }) => console.error(`${operation} ${name} again: ${String(error)}`),
  });
}
