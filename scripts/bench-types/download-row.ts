import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { archive } from '../../libs/engine/src/archiver.ts';
import { openSnapshotBrowser } from '../../libs/engine/src/browse/snapshot-browser.ts';
import { openReading } from '../../libs/engine/src/repository-reading.ts';
import type { Repository } from '../../libs/engine/src/repository.ts';
import { restore, warmRestore } from '../../libs/engine/src/restorer.ts';
import { openThreadPool, type ThreadPool } from '../../libs/engine/src/threads/thread-pool.ts';
import { openFileSystemSource } from '../../libs/sources/src/file-system-source.ts';
import { openFileSystemTarget } from '../../libs/sources/src/file-system-target.ts';
import { median, ratio } from '../bench/statistics.ts';
import { makeContent } from '../bench-engine/text-maker.ts';
import type { BenchRow, RowContext } from './bench-row.ts';
import { createBenchRepository } from './made-snapshots.ts';

const sizeBytes = 1_000_000_000;

/** One file, downloaded and restored in turn: by the same process and threads, with the index in memory. */
export const downloadRow: BenchRow = {
  description: 'a file of 1 GB, half SQL and half what does not compress, downloaded and restored in turn',
  async measure(context) {
    const { signal, folder } = context;
    const bytes = context.isSmall ? sizeBytes / 10 : sizeBytes;
    await using repository = await createBenchRepository(join(folder, 'download'));
    const { snapshotId, path } = await backUp(repository, bytes, context);
    await using pool = openThreadPool();
    await using reading = await openReading({ repository });
    await using browser = openSnapshotBrowser({ repository, pool });
    warmRestore(pool);
    const [downloads, restores, grown]: [number[], number[], number[]] = [[], [], []];
    const download = async (): Promise<number> => {
      const startedAtMs = performance.now();
      let [read, earlyRss, peakRss] = [0, 0, 0];
      for await (const piece of browser.read(snapshotId, path, { offsetBytes: 0, lengthBytes: Number.POSITIVE_INFINITY }, signal)) {
        read += piece.length;
        peakRss = Math.max(peakRss, process.memoryUsage.rss());
        if (read < bytes / 5) earlyRss = peakRss;
      }
      if (read !== bytes) throw new Error(`${read} bytes were read of ${bytes}`);
      grown.push((peakRss - earlyRss) / 1e6);
      return performance.now() - startedAtMs;
    };
    // Not counted: code is compiled, threads start.
    await download();
    for (let round = 0; round < context.rounds; round++) {
      restores.push(await restoreOnce({ repository, snapshotId, folder, pool, reading, signal }));
      downloads.push(await download());
    }
    return [
      { name: 'download', value: median(downloads.map((ms) => bytes / 1e3 / ms)), unit: 'MB/s' },
      { name: 'restore of the same file', value: median(restores.map((ms) => bytes / 1e3 / ms)), unit: 'MB/s' },
      { name: 'download against restore', value: ratio(median(restores), median(downloads)), unit: '×', bar: '>= 0.8' },
      { name: 'memory, from the first fifth to the end', value: median(grown.slice(1)), unit: 'MB', bar: 'flat' },
    ];
  },
};

async function backUp(repository: Repository, bytes: number, { folder, say }: RowContext): Promise<{ snapshotId: string; path: string }> {
  say(`making and backing up a file of ${bytes / 1e6} MB`);
  const source = join(folder, 'source');
  await mkdir(source);
  const path = join(source, 'file');
  await pipeline(makeFile(bytes), createWriteStream(path));
  const opened = await openFileSystemSource({ paths: [source], roots: [folder] });
  try {
    const { snapshotId } = await archive({ repository, source: opened, hostname: 'bench', username: 'bench' });
    return { snapshotId, path };
  } finally {
    await opened.close();
    await rm(source, { recursive: true });
  }
}

/** Half SQL, half what does not compress. */
export function* makeFile(bytes: number): Generator<Buffer> {
  for (const piece of makeContent('sql', 'download', bytes / 2)) yield Buffer.from(piece);
  for (const piece of makeContent('noise', 'download', bytes / 2)) yield Buffer.from(piece);
}

export interface RestoreOnce {
  readonly repository: Repository;
  readonly snapshotId: string;
  readonly folder: string;
  readonly pool: ThreadPool;
  readonly reading: Awaited<ReturnType<typeof openReading>>;
  readonly signal: AbortSignal;
}

/** Milliseconds that a restore of a snapshot takes; nothing of it is left. */
export async function restoreOnce({ repository, snapshotId, folder, pool, reading, signal }: RestoreOnce): Promise<number> {
  const target = join(folder, 'restored');
  await mkdir(target);
  const startedAtMs = performance.now();
  const { failedCount } = await restore({
    repository,
    snapshotId,
    target: openFileSystemTarget({ path: target, roots: [folder], overwrite: false }),
    pool,
    reading,
    signal,
  });
  const tookMs = performance.now() - startedAtMs;
  if (failedCount > 0) throw new Error('the file was not restored');
  await rm(target, { recursive: true });
  return tookMs;
}
