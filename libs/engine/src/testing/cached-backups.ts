import { openFileSystemSource, type FileSystemSourceOptions } from '@holdfast/sources/file-system-source';
import type { Source } from '@holdfast/sources/source';
import type { Storage } from '@holdfast/storage/storage';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archive, type ArchiveOptions, type ArchiveResult } from '../archiver.ts';
import { createBlobLoader } from '../blob-loader.ts';
import type { Clock } from '../clock.ts';
import { loadIndex } from '../load-index.ts';
import type { Repository } from '../repository.ts';
import { loadSnapshot } from '../snapshots.ts';
import { openStatCache, type StatCache } from '../stat-cache/stat-cache.ts';
import { createTestRepository, impatientClock } from './test-repository.ts';

/** By this clock all that a test has just written was written long ago, so that it can be recorded. */
export const laterClock: Clock = { ...impatientClock, now: () => new Date(Date.now() + 60_000) };

/** A folder that is backed up again and again, with a stat cache or without. */
export interface CachedBackups extends AsyncDisposable {
  readonly root: string;
  readonly repository: Repository;
  /** What was read of the storage so far, by name. */
  readonly reads: string[];
  /** The folders that were listed so far. */
  readonly listed: string[];
  /** Each has the last one with a cache as its parent. */
  backUp(options?: BackupOptions): Promise<ArchiveResult>;
  openCache(source: Source, meanwhile?: Promise<unknown>): StatCache | undefined;
  /** The file of the cache. */
  cachePath(): Promise<string>;
  /** The tree of the folder itself: those above it are others' and change while a test runs. */
  rootTreeId(result: ArchiveResult): Promise<string | undefined>;
}

export interface BackupOptions {
  readonly isCached?: boolean;
  readonly isFirst?: boolean;
  readonly clock?: Clock;
  readonly rules?: Omit<FileSystemSourceOptions, 'paths' | 'roots'>;
  readonly more?: Partial<ArchiveOptions>;
  readonly wrap?: (source: Source) => Source;
}

export async function makeCachedBackups(): Promise<CachedBackups> {
  const place = await mkdtemp(join(tmpdir(), 'holdfast-cached-'));
  const [root, folder] = [join(place, 'source'), join(place, 'cache')];
  await mkdir(root);
  const reads: string[] = [];
  const listed: string[] = [];
  const plain = await createTestRepository();
  const repository: Repository = { ...plain, storage: noting(plain.storage, reads) };
  let parentId: string | undefined;
  const openCache = (source: Source, meanwhile?: Promise<unknown>) =>
    openStatCache({ folder, location: plain.storage.location, hostname: 'host', source, ...(meanwhile && { meanwhile }) });
  return {
    root,
    repository,
    reads,
    listed,
    openCache,
    async backUp({ isCached = true, isFirst = false, clock = laterClock, rules, more, wrap } = {}) {
      const real = await openFileSystemSource({ paths: [root], roots: [root], ...rules });
      const noted = noteListed(real, listed);
      const source = wrap?.(noted) ?? noted;
      const parent = isFirst || parentId === undefined ? undefined : await loadSnapshot(plain, parentId);
      const result = await archive({
        repository,
        source,
        hostname: 'host',
        username: 'ann',
        clock,
        ...(parent === undefined ? {} : { parent }),
        ...(isCached ? { statCache: openCache(source) } : {}),
        ...more,
      });
      if (isCached) parentId = result.snapshotId;
      return result;
    },
    cachePath: async () => join(folder, (await readdir(folder))[0] ?? ''),
    async rootTreeId({ treeId: topId }) {
      const loader = createBlobLoader(plain, (await loadIndex(plain)).index);
      let treeId: string | undefined = topId;
      for (const name of root.split('/').slice(1)) {
        if (treeId === undefined) return undefined;
        treeId = (await loader.loadTree(treeId)).find((node) => node.name === name)?.subtree;
      }
      return treeId;
    },
    async [Symbol.asyncDispose]() {
      await plain.close();
      await rm(place, { recursive: true, force: true });
    },
  };
}

function noting(storage: Storage, reads: string[]): Storage {
  return {
    location: storage.location,
    put: (...call) => storage.put(...call),
    get: (name, options) => {
      reads.push(name);
      return storage.get(name, options);
    },
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    delete: (...call) => storage.delete(...call),
    close: () => storage.close(),
  };
}

function noteListed(source: Source, listed: string[]): Source {
  return {
    paths: source.paths,
    ...(source.threadOptions === undefined ? {} : { threadOptions: source.threadOptions }),
    ...(source.records === undefined ? {} : { records: source.records }),
    readDirectory: (path, options) => {
      listed.push(path);
      return source.readDirectory(path, options);
    },
    openFile: (path) => source.openFile(path),
    close: () => source.close(),
  };
}
