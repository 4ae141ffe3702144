import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { archive } from '../../libs/engine/src/archiver.ts';
import { createRepository } from '../../libs/engine/src/create-repository.ts';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { withSnapshotFiles } from '../../libs/engine/src/snapshot-files.ts';
import { listSnapshots } from '../../libs/engine/src/snapshots.ts';
import { decodeManifest, type LogEntry } from '../../libs/sources/src/logs/log-manifest.ts';
import { manifestPath } from '../../libs/sources/src/logs/log-texts.ts';
import { openLogsSource } from '../../libs/sources/src/logs/logs-source.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import { percentile, type BenchRow, type RowContext } from './bench-row.ts';
import { password } from './made-snapshots.ts';

const smallLogCount = 1000;
const grownBytes = 1_000_000;

/** A log of 1 GB and a thousand small ones: a run with nothing new, and one after the large one grew by 1 MB. */
export const logsRow: BenchRow = {
  description: 'a log of 1 GB beside 1,000 small ones: nothing new, and 1 MB more',
  async measure(context) {
    const logs = join(context.folder, 'logs');
    const path = join(context.folder, 'repository');
    const largeBytes = context.isSmall ? 100_000_000 : 1_000_000_000;
    await makeLogs(logs, largeBytes, context);
    await (
      await createRepository({ storage: await openLocalStorage({ path }), password, hostname: 'bench', username: 'bench' })
    )[Symbol.asyncDispose]();
    await backUp(path, logs, context);
    const idle: number[] = [];
    const idlePacks: number[] = [];
    const grown: { ms: number; readBytes: number }[] = [];
    for (let round = 0; round < context.rounds; round++) {
      const packsBefore = await packCount(path);
      const startedAtMs = performance.now();
      await backUp(path, logs, context);
      idle.push(performance.now() - startedAtMs);
      idlePacks.push((await packCount(path)) - packsBefore);
      await appendFile(join(logs, 'large.log'), textOf(grownBytes));
      const grownAtMs = performance.now();
      const readBytes = await backUp(path, logs, context);
      grown.push({ ms: performance.now() - grownAtMs, readBytes });
    }
    const read = grown.map(({ readBytes }) => readBytes / 1e6);
    return [
      { name: 'nothing new, p50', value: percentile(idle, 0.5) / 1000, unit: 's', bar: '<= 1' },
      { name: 'nothing new, packs added', value: Math.max(...idlePacks), unit: '', bar: '<= 0' },
      {
        name: `${largeBytes / 1e9} GB grown by 1 MB, p50`,
        value:
          percentile(
            grown.map(({ ms }) => ms),
            0.5,
          ) / 1000,
        unit: 's',
      },
      { name: `${largeBytes / 1e9} GB grown by 1 MB, read, p50`, value: percentile(read, 0.5), unit: 'MB' },
      { name: `${largeBytes / 1e9} GB grown by 1 MB, read, most`, value: Math.max(...read), unit: 'MB' },
    ];
  },
};

/** As a worker does it, from opening the repository; gives how many bytes of logs were read to store them. */
async function backUp(path: string, logs: string, { signal }: RowContext): Promise<number> {
  await using repository = await openRepository({ storage: await openLocalStorage({ path }), password });
  const parent = (await listSnapshots(repository, { signal })).at(-1);
  const before = parent === undefined ? null : await manifestOf(repository, parent.id, signal);
  const source = await openLogsSource({ globs: [`${logs}/*.log`], roots: [logs], before, startedAt: new Date(), signal });
  let readBytes = 0;
  const openFile = source.openFile.bind(source);
  source.openFile = async (at) => {
    const file = await openFile(at);
    const read = file.read.bind(file);
    file.read = async (into, position) => {
      const count = await read(into, position);
      readBytes += count;
      return count;
    };
    return file;
  };
  const concurrency = source.unreadBytes < 8 * 1024 * 1024 ? { concurrency: 0 } : {};
  await archive({ repository, source, hostname: 'bench', username: 'bench', signal, ...concurrency, ...(parent && { parent }) });
  return readBytes;
}

async function manifestOf(
  repository: Awaited<ReturnType<typeof openRepository>>,
  snapshotId: string,
  signal: AbortSignal,
): Promise<LogEntry[]> {
  return await withSnapshotFiles({ repository, snapshotId, signal }, async (files) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read(manifestPath)) pieces.push(piece);
    return decodeManifest(Buffer.concat(pieces));
  });
}

async function makeLogs(folder: string, largeBytes: number, { say, signal }: RowContext): Promise<void> {
  say(`making a log of ${largeBytes / 1e9} GB and ${smallLogCount} small ones`);
  await mkdir(folder);
  for (let nth = 0; nth < smallLogCount; nth++) await writeFile(join(folder, `small-${nth}.log`), textOf(10_000));
  await using large = await open(join(folder, 'large.log'), 'w');
  for (let written = 0; written < largeBytes; written += grownBytes) {
    signal.throwIfAborted();
    await large.write(textOf(grownBytes));
  }
}

function textOf(sizeBytes: number): string {
  const line = `${new Date().toISOString()} ${randomBytes(24).toString('base64')}`;
  return randomBytes(Math.ceil((sizeBytes * 3) / 4))
    .toString('base64')
    .replaceAll(/.{120}/gu, (part) => `${line}${part.slice(line.length + 1)}\n`)
    .slice(0, sizeBytes);
}

async function packCount(path: string): Promise<number> {
  const entries = await readdir(join(path, 'data'), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}
