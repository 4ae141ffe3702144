import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { open, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { credentialsPlace, locationKey } from '@holdfast/storage/storage-options';
import { openFaultyLine } from '@holdfast/storage/testing/faulty-line';
import { startRemotePlace } from '@holdfast/storage/testing/remote-places';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RunningWorker } from '../start-workers.ts';
import { askWorker, bytesOf } from '../testing/browse-client.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

// What becomes of downloads on which something breaks.

const fileBytes = 96 * 1024 * 1024;
let fixture: WorkerFixture;
let path: string;
beforeEach(async () => {
  fixture = await openWorkerFixture('postgresql');
  path = join(fixture.folder, 'source', 'large.bin');
  await writeFile(path, randomBytes(fileBytes));
});
afterEach(() => fixture[Symbol.asyncDispose]());

interface Asked {
  readonly repositoryId: string;
  readonly snapshotId: string;
  readonly path: string;
}

async function backedUp(configId: string): Promise<Asked> {
  const jobId = await fixture.submitBackup(configId);
  const { status } = await fixture.eventually('backup', jobId, isFinal, 60_000);
  expect(status).toBe('completed');
  const { repositoryId, snapshotId } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id: jobId } });
  return { repositoryId, snapshotId: snapshotId ?? '', path };
}

const download = (worker: RunningWorker, asked: Asked): Promise<IncomingMessage> => askWorker(fixture, worker, '/content', { ...asked });

/** Takes so many bytes and leaves the rest where it is. */
async function take(response: IncomingMessage, sizeBytes: number): Promise<void> {
  for (let taken = 0; taken < sizeBytes;) {
    const [bytes] = (await once(response, 'data')) as [Buffer];
    taken += bytes.length;
  }
}

test(
  'when the client goes away, reading at the storage stops within a second, and its room is free again',
  { timeout: 180_000 },
  async () => {
    await using place = await startRemotePlace('sftp');
    await using line = await openFaultyLine(place);
    const options = place.options(line.port);
    const configId = await fixture.createConfig({
      storageLocation: 'sftp',
      storageOptions: options,
      credentials: JSON.stringify(place.credentials(line.port)),
      credentialsPlace: credentialsPlace(options),
      locationKey: locationKey(options),
    });
    const worker = await fixture.startWorker({ config: { storageHosts: parseAllowedHosts('127.0.0.1'), storageCacheBytes: 0 } });
    const asked = await backedUp(configId);

    const before = line.counts.downBytes;
    const response = await download(worker, asked);
    await take(response, 1024 * 1024);
    response.destroy();
    await delay(1000);
    const atOneSecond = line.counts.downBytes;
    await delay(1500);
    // Heartbeats of the connection are all that comes.
    expect(line.counts.downBytes - atOneSecond).toBeLessThan(64 * 1024);
    expect(atOneSecond - before).toBeLessThan(fileBytes);
    // What it read meanwhile is in nobody's way: as many as there is room for can leave, and the next one is served.
    for (let nth = 0; nth < 20; nth++) (await download(worker, asked)).destroy();
    expect((await bytesOf(await download(worker, asked))).length).toBe(fileBytes);
    await worker.stop();
  },
);

test('a pack that is damaged cuts the download; nothing of it is told to be whole', { timeout: 120_000 }, async () => {
  const worker = await fixture.startWorker();
  const asked = await backedUp(await fixture.createConfig());
  const data = join(fixture.folder, 'storage/repository/data');
  const packs = (await readdir(data, { recursive: true })).filter((name) => /\/[0-9a-f]{64}$/u.test(name));
  const sizes = await Promise.all(packs.map(async (name) => ({ name, sizeBytes: (await stat(join(data, name))).size })));
  for (const { name, sizeBytes } of sizes.filter((pack) => pack.sizeBytes > 1024 * 1024).slice(-1)) {
    await using pack = await open(join(data, name), 'r+');
    await pack.write(randomBytes(1024), 0, 1024, Math.floor(sizeBytes / 2));
  }
  const response = await download(worker, asked);
  expect([response.statusCode, response.headers['content-length']]).toEqual([200, String(fileBytes)]);
  await expect(bytesOf(response)).rejects.toThrow('aborted');
  const archive = await askWorker(fixture, worker, '/archive', { ...asked, paths: path, format: 'tar' });
  await expect(bytesOf(archive)).rejects.toThrow('aborted');
  // Listing goes on.
  const listing = await askWorker(fixture, worker, '/folder', { ...asked, path: join(fixture.folder, 'source'), limit: '10' });
  expect(String(await bytesOf(listing))).toContain('large.bin');
});

test('a worker that is stopped lets a download end that can, and cuts one that takes too long', { timeout: 120_000 }, async () => {
  // Far above what a few megabytes take on a busy machine.
  const worker = await fixture.startWorker({ config: { shutdownGraceMs: 10_000 } });
  const asked = await backedUp(await fixture.createConfig());
  const quick = await askWorker(fixture, worker, '/content', { ...asked, range: 'bytes=0-4194303' });
  const stuck = await download(worker, asked);
  await once(stuck, 'readable');
  const stopped = worker.stop();
  expect((await bytesOf(quick)).length).toBe(4 * 1024 * 1024);
  await stopped;
  await expect(bytesOf(stuck)).rejects.toThrow('aborted');
  expect(await fixture.database.db.client.workerProcess.count()).toBe(0);
  expect(await readdir(join(fixture.folder, 'storage/repository/locks'))).toEqual([]);
});
