import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createTenant, startSystem, type System } from '../../apps/e2e/src/harness/system.ts';
import { openReading } from '../../libs/engine/src/repository-reading.ts';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { warmRestore } from '../../libs/engine/src/restorer.ts';
import { openThreadPool } from '../../libs/engine/src/threads/thread-pool.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import { median, ratio } from '../bench/statistics.ts';
import type { BenchRow, RowContext } from './bench-row.ts';
import { makeFile, restoreOnce } from './download-row.ts';

const sizeBytes = 1_000_000_000;
const backupTimeoutMs = 600_000;

/** What a user sees of a download: the API and a worker are processes of their own, and HTTP is between all. */
export const servedRow: BenchRow = {
  description: 'the same file downloaded from the API, which a worker serves, in turn with a restore of it by the engine',
  async measure(context) {
    const { folder, signal, say } = context;
    const bytes = context.isSmall ? sizeBytes / 10 : sizeBytes;
    // The system makes its folder where temporary ones are.
    process.env['TMPDIR'] = folder;
    const system = await startSystem({ queue: 'postgresql', workerCount: 1 });
    try {
      const source = join(system.sources, 'served');
      await mkdir(source);
      const path = join(source, 'file');
      say(`making and backing up a file of ${bytes / 1e6} MB`);
      await pipeline(makeFile(bytes), createWriteStream(path));
      return await measureServed(system, { source, path, bytes }, context, signal);
    } finally {
      await system.stop();
    }
  },
};

interface ServedFile {
  readonly source: string;
  readonly path: string;
  readonly bytes: number;
}

async function measureServed(system: System, { source, path, bytes }: ServedFile, { folder, rounds }: RowContext, signal: AbortSignal) {
  const tenant = await createTenant(system, { name: 'served', sourcePath: source });
  const { id } = await system.api.post('/jobs', { backupConfigId: tenant.configId });
  const job = await system.api.finished(`/jobs/${id}`, backupTimeoutMs);
  if (job.status !== 'completed' || job.snapshotId === null) throw new Error(`the backup ended as ${job.status}: ${job.errorMessage}`);

  const { snapshotId } = job;
  await using repository = await openRepository({
    storage: await openLocalStorage({ path: tenant.repositoryPath }),
    password: tenant.password,
    signal,
  });
  await using pool = openThreadPool();
  await using reading = await openReading({ repository });
  warmRestore(pool);
  const url = `${system.api.baseUrl}/api/backup/jobs/${id}/files/content?path=${encodeURIComponent(path)}`;
  const download = (): Promise<number> => downloadOnce(url, system.api.token, bytes, signal);
  // Not counted: code is compiled, threads start, the worker opens the repository.
  await download();
  const before = residentBytes(system);
  const [downloads, restores]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    restores.push(await restoreOnce({ repository, snapshotId, folder, pool, reading, signal }));
    downloads.push(await download());
  }
  return [
    { name: 'download from the API', value: median(downloads.map((ms) => bytes / 1e3 / ms)), unit: 'MB/s' },
    { name: 'restore by the engine', value: median(restores.map((ms) => bytes / 1e3 / ms)), unit: 'MB/s' },
    { name: 'download from the API against restore', value: ratio(median(restores), median(downloads)), unit: '×', bar: '>= 0.8' },
    { name: "worker's memory at its peak", value: residentBytes(system) / 1e6, unit: 'MB' },
    { name: 'growth of that after the first download', value: (residentBytes(system) - before) / 1e6, unit: 'MB', bar: 'flat' },
  ];
}

async function downloadOnce(url: string, token: string, bytes: number, signal: AbortSignal): Promise<number> {
  const startedAtMs = performance.now();
  const asked = get(url, { headers: { authorization: `Bearer ${token}` }, agent: false, signal });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let read = 0;
  response.on('data', (chunk: Buffer) => (read += chunk.length));
  await once(response, 'end');
  if (response.statusCode !== 200 || read !== bytes) throw new Error(`${response.statusCode}: ${read} bytes came of ${bytes}`);
  return performance.now() - startedAtMs;
}

/** The most that the worker has ever had in memory, as the kernel counts it. */
function residentBytes({ workers }: System): number {
  const status = readFileSync(`/proc/${workers[0]?.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/mu.exec(status)?.[1]) * 1024;
}
