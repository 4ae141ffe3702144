import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { credentialsPlace, locationKey } from '@holdfast/storage/storage-options';
import { openFaultyLine } from '@holdfast/storage/testing/faulty-line';
import { startRemotePlace } from '@holdfast/storage/testing/remote-places';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningWorker } from '../start-workers.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

describe('metrics of a worker that backs up to a server', () => {
  let fixture: WorkerFixture;
  beforeAll(async () => {
    fixture = await openWorkerFixture('postgresql');
    await writeFile(join(fixture.folder, 'source', 'a'), randomBytes(100_000));
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  const startWorker = (): Promise<RunningWorker> =>
    fixture.startWorker({ config: { metricsPort: 0, storageHosts: parseAllowedHosts('127.0.0.1') } });

  const completed = async (kind: 'backup' | 'recovery', id: string): Promise<void> => {
    const row = await fixture.eventually(kind, id, isFinal, 60_000);
    expect(row, row.errorMessage ?? '').toMatchObject({ status: 'completed' });
  };

  it('tells of calls, bytes, errors, retries and what the disk answered, and of no place or secret', { timeout: 120_000 }, async () => {
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
    const first = await startWorker();
    const backup = await fixture.submitBackup(configId);
    await completed('backup', backup);
    const text = await textOf(first);
    expect(value(text, 'holdfast_storage_request_duration_seconds_count{storage="sftp",operation="put"}')).toBeGreaterThanOrEqual(5);
    expect(value(text, 'holdfast_storage_request_duration_seconds_count{storage="sftp",operation="list"}')).toBeGreaterThan(0);
    expect(value(text, 'holdfast_storage_sent_bytes_total{storage="sftp"}')).toBeGreaterThan(100_000);
    expect(value(text, 'holdfast_storage_errors_total{storage="sftp",operation="get",code="storage_object_missing"}')).toBeGreaterThan(0);
    expect(text).not.toMatch(/retries_total/u);
    expect(value(text, 'holdfast_storage_cache_written_bytes_total')).toBeGreaterThan(0);
    for (const secret of ['127.0.0.1', fixture.folder, 'snapshots/', ...Object.values(place.credentials()).map(String)]) {
      expect(text).not.toContain(secret);
    }

    // A new worker has nothing in memory, and the first one's cache. Its line is cut once.
    await first.stop();
    const second = await startWorker();
    line.strike('cut', 'down', 50_000);
    const path = join(fixture.folder, 'target', 'recovered');
    const row = await inTransaction(fixture.database.db, (tx) =>
      createRecoveryJob(tx, '*', { backupJobId: backup, recoveryType: 'full', targetLocation: path, options: {}, execute: true }),
    );
    await fixture.queues.enqueueRun('recovery', row.id);
    await completed('recovery', row.id);
    const after = await textOf(second);
    expect(value(after, 'holdfast_storage_cache_hits_total')).toBeGreaterThan(0);
    expect(value(after, 'holdfast_storage_cache_damaged_total')).toBe(0);
    expect(value(after, 'holdfast_storage_received_bytes_total{storage="sftp"}')).toBeGreaterThan(100_000);
    const retries = after.split('\n').filter((name) => name.startsWith('holdfast_storage_retries_total{storage="sftp"'));
    expect(retries.length).toBeGreaterThan(0);
  });

  it('answers nothing but GET /metrics', async () => {
    const worker = await startWorker();
    const url = `http://127.0.0.1:${String(worker.metricsPort)}`;
    const answer = await fetch(`${url}/metrics`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405);
    await worker.stop();
    await expect(fetch(`${url}/metrics`)).rejects.toThrow('fetch failed');
  });

  it('is no reason for a worker not to start', async () => {
    expect((await fixture.startWorker()).metricsPort).toBeNull();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const worker = await fixture.startWorker({ config: { metricsPort: port } });
    expect(worker.metricsPort).toBeNull();
    await worker.stop();
    other.close();
  });
});

async function textOf({ metricsPort }: RunningWorker): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${String(metricsPort)}/metrics`)).text();
}

/** Of one series; NaN when there is none. */
function value(text: string, series: string): number {
  const found = text.split('\n').find((name) => name.startsWith(`${series} `));
  return Number(found?.slice(series.length) ?? Number.NaN);
}
