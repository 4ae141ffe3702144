import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openLimitingStorage, type BandwidthLimits } from '@holdfast/storage/wrappers/limiting-storage';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archive, type ArchiveOptions, type ArchiveResult } from '../archiver.ts';
import type { Repository } from '../repository.ts';
import { createTestRepository } from './test-repository.ts';

/** A folder to back up, and a repository in a folder beside it: what the threads of a backup work on. */
export interface FolderRepository extends AsyncDisposable {
  readonly source: string;
  readonly path: string;
  readonly repository: Repository;
  archive(options?: Partial<ArchiveOptions>): Promise<ArchiveResult>;
}

export interface FolderRepositoryOptions {
  readonly limits?: BandwidthLimits;
  /** Default: a new one, so files are cut in other places than in any other repository. */
  readonly chunkerPolynomial?: bigint;
}

export async function makeFolderRepository({ limits, ...making }: FolderRepositoryOptions = {}): Promise<FolderRepository> {
  const place = await mkdtemp(join(tmpdir(), 'holdfast-folder-'));
  const [source, path] = [join(place, 'source'), join(place, 'repository')];
  await mkdir(source);
  const local = await openLocalStorage({ path });
  const repository = await createTestRepository(limits === undefined ? local : openLimitingStorage(local, limits), making);
  return {
    source,
    path,
    repository,
    async archive(options = {}) {
      const opened = await openFileSystemSource({ paths: [source], roots: [source] });
      try {
        return await archive({ repository, source: opened, hostname: 'host', username: 'ann', ...options });
      } finally {
        await opened.close();
      }
    },
    async [Symbol.asyncDispose]() {
      await repository.close();
      await rm(place, { recursive: true, force: true });
    },
  };
}
