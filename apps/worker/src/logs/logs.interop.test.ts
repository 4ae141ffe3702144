import { execFile } from 'node:child_process';
import { appendFile, copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { archive } from '@holdfast/engine/archiver';
import { createRepository } from '@holdfast/engine/create-repository';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { cheapKdf as kdf, noise } from '@holdfast/engine/testing/test-repository';
import { decodeManifest, type LogEntry } from '@holdfast/sources/logs/log-manifest';
import { openLogsSource } from '@holdfast/sources/logs/logs-source';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadManifest } from './stored-manifest.ts';

const { found } = await findStockRestics();
const run = promisify(execFile);

/** Lines that do not compress to nothing, so that files have several chunks. */
const lines = (count: number, seed: number): string => {
  const bytes = Buffer.from(noise(count * 60, seed)).toString('base64');
  return Array.from({ length: count }, (_, nth) => `${seed} ${nth} ${bytes.slice(nth * 80, nth * 80 + 80)}\n`).join('');
};

describe('backups of logs', () => {
  let folder: string;
  let logs: string;
  let packed: LogEntry | undefined;

  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-logs-')));
    logs = join(folder, 'logs');
    await mkdir(logs);
    const path = (name: string): string => join(logs, name);
    const storage = await openLocalStorage({ path: join(folder, 'repository') });
    await using repository = await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf });
    const signal = AbortSignal.timeout(60_000);
    let runCount = 0;
    const backUp = async (): Promise<void> => {
      const parent = (await listSnapshots(repository)).at(-1);
      const before = parent === undefined ? null : await withSnapshotFiles({ repository, snapshotId: parent.id }, loadManifest);
      const startedAt = new Date(1_700_000_000_000 + ++runCount * 60_000);
      const source = await openLogsSource({ globs: [`${logs}/*`], roots: [logs], before, startedAt, signal });
      const time = startedAt;
      const { skipped } = await archive({ repository, source, hostname: 'host', username: 'ann', time, ...(parent && { parent }) });
      expect(skipped).toEqual([]);
    };
    await writeFile(path('app.log'), lines(60_000, 1));
    await backUp();
    await appendFile(path('app.log'), lines(20_000, 2));
    await backUp();
    await rename(path('app.log'), path('app.log.1'));
    await writeFile(path('app.log'), lines(5_000, 3));
    await backUp();
    await copyFile(path('app.log'), path('app.log.0'));
    await truncate(path('app.log'));
    await appendFile(path('app.log'), lines(30_000, 4));
    await appendFile(path('app.log.1'), lines(100, 5));
    await writeFile(path('app.log.1.gz'), gzipSync(await readFile(path('app.log.1'))));
    await rm(path('app.log.1'));
    await backUp();
    const last = (await listSnapshots(repository)).at(-1);
    const manifest = await withSnapshotFiles({ repository, snapshotId: last?.id ?? '' }, loadManifest);
    packed = manifest?.find(({ encoding }) => encoding === 'gzip');
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each(found)('are checked and restored by $name $version, whole', async (restic) => {
    const restored = join(folder, `restored-by-${restic.version}`);
    const repository = join(folder, 'repository');
    await restic.run(repository, ['check', '--read-data']);
    await restic.run(repository, ['restore', 'latest', '--target', restored]);
    const names = (await readdir(logs)).toSorted();
    expect((await readdir(join(restored, logs))).toSorted()).toEqual(names);
    for (const name of names) {
      const [one, other] = await Promise.all([readFile(join(logs, name)), readFile(join(restored, logs, name))]);
      expect(Buffer.compare(one, other), name).toBe(0);
    }
    const manifest = decodeManifest(await readFile(join(restored, 'holdfast-logs', 'manifest.jsonl')));
    expect(manifest.map(({ path, state }) => [path.slice(logs.length + 1), state])).toEqual([
      ['app.log', 'present'],
      ['app.log.0', 'present'],
      ['app.log.1.gz', 'present'],
    ]);
  });

  test.each(found)('give what one run picked up to $name $version, by the command of README.txt', async (restic) => {
    const restored = join(folder, `read-by-${restic.version}`);
    await restic.run(join(folder, 'repository'), ['restore', 'latest', '--target', restored]);
    const readme = await readFile(join(restored, 'holdfast-logs', 'README.txt'), 'utf8');
    const command = readme.split('\n').find((line) => line.includes('gzip -dc')) ?? '';
    const { path = '', fromByte = 0, toByte = 0 } = packed ?? {};
    expect(toByte - fromByte).toBe(lines(100, 5).length);
    const file = join(restored, path);
    const { stdout } = await run('sh', ['-c', command.replace('restic dump SNAPSHOT PATH', `cat '${file}'`)], {
      env: { PATH: process.env['PATH'], fromByte: String(fromByte), toByte: String(toByte) },
      maxBuffer: 1e8,
    });
    expect(stdout).toBe(lines(100, 5));
  });
});
