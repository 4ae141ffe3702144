import type { GetOptions, Storage } from '../../libs/storage/src/storage.ts';

/** What was fetched of packs. */
export interface PackFetches {
  fetchCount: number;
  bytes: number;
  /** Of them those that had been fetched before. */
  bytesAgain: number;
}

/** The storage, with all that is fetched of packs counted in `fetches`. Threads do not read from it by themselves. */
export function countPackFetches(storage: Storage, fetches: PackFetches): Storage {
  const seen = new Map<string, Uint8Array>();
  const count = async (name: string, options: GetOptions | undefined): Promise<void> => {
    const { sizeBytes } = await storage.stat(name);
    const { offsetBytes, lengthBytes } = options?.range ?? { offsetBytes: 0, lengthBytes: sizeBytes };
    const marks = seen.get(name) ?? new Uint8Array(sizeBytes);
    seen.set(name, marks);
    fetches.fetchCount++;
    fetches.bytes += lengthBytes;
    for (let at = offsetBytes; at < offsetBytes + lengthBytes; at++) fetches.bytesAgain += marks[at] ?? 0;
    marks.fill(1, offsetBytes, offsetBytes + lengthBytes);
  };
  return {
    location: storage.location,
    put: (...args) => storage.put(...args),
    get: async (name, options) => {
      if (name.startsWith('data/')) await count(name, options);
      return await storage.get(name, options);
    },
    stat: (...args) => storage.stat(...args),
    list: (...args) => storage.list(...args),
    delete: (...args) => storage.delete(...args),
    close: () => storage.close(),
  };
}
