import { hashOf } from '@holdfast/restic-format/object-id';
import type { Source, SourceRecords } from '@holdfast/sources/source';
import { join } from 'node:path';
import { compareSource, type CompareOptions } from './compare-source.ts';
import type { KnownFolder } from './known-folder.ts';
import { loadStatCache } from './load-stat-cache.ts';
import type { StatCacheData } from './stat-cache-file.ts';

/**
 * What the system told of every folder and file of the last backup, in a file of this machine, so that the next one need not read of the
 * repository what has not changed. It is only a cache: whatever is odd about it, there is none.
 */
export interface StatCache {
  readonly path: string;
  /** Of whom it is; see StatCacheHead. */
  readonly key: string;
  readonly records: SourceRecords;
  /**
   * The source compared with what the cache holds; null when it holds nothing of use. What an earlier call found is given again while it
   * is fresh. Aborts with the signal's reason.
   */
  compare(signal?: AbortSignal): Promise<ComparedCache | null>;
  /** Ends a comparison that nobody has asked for. Calling it twice is no error. */
  close(): void;
}

export interface ComparedCache {
  readonly data: StatCacheData;
  readonly top: KnownFolder;
}

export interface StatCacheOptions {
  /** Of this machine, for many caches. Made when it is not there. */
  readonly folder: string;
  /** Of the repository's storage. */
  readonly location: string;
  readonly hostname: string;
  readonly source: Source;
  /** Whatever the caller waits for now. Until it has settled there is time to compare; and from then on when the comparison is asked for. */
  readonly meanwhile?: Promise<unknown>;
}

/** A backup is to show what is there when it is made: a comparison from before a long wait for a lock is made again. */
const freshMs = 5_000;
export const statCacheSuffix = '.stats';

/** The cache of a backup; undefined for a source that cannot be compared. Never an error. */
export function openStatCache({ folder, location, hostname, source, meanwhile }: StatCacheOptions): StatCache | undefined {
  const { records } = source;
  if (records === undefined) return undefined;
  const key = hashOf(Buffer.from(JSON.stringify([location, hostname, records.rules])));
  const path = join(folder, `${key}${statCacheSuffix}`);
  const load = async (options: CompareOptions): Promise<ComparedCache | null> => {
    const data = await loadStatCache(path, key, records);
    const top = data === null ? undefined : await compareSource(records, data.folders, options);
    return data === null || top === undefined ? null : { data, top };
  };
  let ahead = meanwhile && beginAhead(load, meanwhile);
  return {
    path,
    key,
    records,
    async compare(signal) {
      const begun = ahead;
      ahead = undefined;
      if (begun !== undefined && performance.now() - begun.begunMs <= freshMs) return await begun.goOn();
      begun?.end();
      return await load({ signal });
    },
    close() {
      ahead?.end();
      ahead = undefined;
    },
  };
}

interface Ahead {
  readonly begunMs: number;
  goOn(): Promise<ComparedCache | null>;
  end(): void;
}

function beginAhead(load: (options: CompareOptions) => Promise<ComparedCache | null>, meanwhile: Promise<unknown>): Ahead {
  const asked = Promise.withResolvers<void>();
  const ended = new AbortController();
  let gate: Promise<void> = Promise.resolve();
  meanwhile.then(
    () => (gate = asked.promise),
    () => ended.abort(),
  );
  const compared = load({ signal: ended.signal, pause: () => gate });
  // Whoever asks for it hears of a failure.
  compared.catch(() => {});
  return {
    begunMs: performance.now(),
    goOn: () => {
      asked.resolve();
      return compared;
    },
    end: () => {
      ended.abort();
      asked.resolve();
    },
  };
}
