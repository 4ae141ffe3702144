import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@holdfast/database/embedded-postgres';
import { testDatabaseVariable } from '@holdfast/database/testing/test-server';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunWork } from './run-with-claim.ts';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

/** Counts how often each run was worked on to its end; `durationMs` long. */
function countingWork(durationMs: number): { readonly work: RunWork<'backup'>; readonly counts: Map<string, number> } {
  const counts = new Map<string, number>();
  const work: RunWork<'backup'> = async ({ claim, onProgress, signal }) => {
    for (let step = 1; step <= 5; step++) {
      await delay(durationMs / 5);
      signal.throwIfAborted();
      onProgress({ phase: 'reading', filesDone: step, filesTotal: 5, bytesDone: step, bytesTotal: 5 });
    }
    counts.set(claim.id, (counts.get(claim.id) ?? 0) + 1);
    const result = { snapshotId: 'a'.repeat(64), filePath: 'x', fileSize: 1n, checksum: 'b'.repeat(64), metadata: {} };
    return { status: 'completed', result };
  };
  return { work, counts };
}

describe.runIf(backends.includes('redis'))('when redis', () => {
  let fixture: WorkerFixture;
  let configId: string;

  beforeAll(async () => {
    fixture = await openWorkerFixture('redis');
    configId = await fixture.createConfig();
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  const submit = (count: number, enqueue = true): Promise<string[]> =>
    Promise.all(Array.from({ length: count }, () => fixture.submitBackup(configId, { enqueue })));
  const allDone = async (ids: readonly string[]): Promise<void> => {
    for (const id of ids) expect(await fixture.eventually('backup', id, isFinal, 30_000)).toMatchObject({ status: 'completed' });
  };

  test('is wiped with jobs waiting and running, all of them complete, each once', async () => {
    const { work, counts } = countingWork(1_500);
    const waiting = await submit(12);
    const worker = await fixture.startWorker({ works: { backup: work }, config: { concurrency: 4 } });
    await expect.poll(async () => (await fixture.queues.counts()).backup.active, { timeout: 5_000 }).toBeGreaterThan(0);
    await fixture.redis?.flushAll();
    await allDone(waiting);
    expect([...counts.values()]).toEqual(waiting.map(() => 1));
    await worker.stop();
  });

  test('dies and comes back empty, the run under way ends and later ones are done', async () => {
    const { work, counts } = countingWork(1_500);
    const worker = await fixture.startWorker({ works: { backup: work } });
    const [running = ''] = await submit(1);
    await fixture.eventually('backup', running, (row) => row.status === 'running');
    await fixture.redis?.kill();
    // The row hears of the end although the queue cannot.
    expect(await fixture.eventually('backup', running, isFinal, 8_000)).toMatchObject({ status: 'completed', attempt: 1 });

    const later = await submit(3, false);
    const startedAtMs = performance.now();
    const refused = await fixture.queues.enqueueRun('backup', later[0] ?? '').catch((error: unknown) => error);
    expect(isHoldfastError(refused, 'queue_unreachable')).toBe(true);
    expect(performance.now() - startedAtMs).toBeLessThan(2_500);
    await delay(1_500);
    await fixture.redis?.start();
    await allDone(later);
    expect([...counts.values()]).toEqual([1, 1, 1, 1]);
    await worker.stop();
  });

  test('is away, a worker stops all the same', async () => {
    const { work } = countingWork(60_000);
    const worker = await fixture.startWorker({ works: { backup: work }, config: { shutdownGraceMs: 0 } });
    const [id = ''] = await submit(1);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    await fixture.redis?.kill();
    const startedAtMs = performance.now();
    await worker.stop();
    expect(performance.now() - startedAtMs).toBeLessThan(20_000);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued', errorCode: 'run_interrupted' });
  });

  test('is away at its start, a worker waits for it', async () => {
    const { work } = countingWork(50);
    const worker = await fixture.startWorker({ works: { backup: work } });
    const ids = await submit(2, false);
    expect(await fixture.eventually('backup', ids[0] ?? '', () => true)).toMatchObject({ status: 'queued' });
    await fixture.redis?.start();
    await allDone(ids);
    await worker.stop();
  });
});

describe.each(backends)('when postgresql is killed and comes back, with queues on %s,', (backend) => {
  let server: EmbeddedPostgres;
  let dataDir: string;
  let fixture: WorkerFixture;
  let configId: string;
  const given = process.env[testDatabaseVariable];

  beforeAll(async () => {
    // A server of this test's own: others must not be there when it dies.
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-killed-'));
    server = await startEmbeddedPostgres({ dataDir, log: () => undefined, settings: { fsync: 'off' } });
    process.env[testDatabaseVariable] = server.url;
    fixture = await openWorkerFixture(backend);
    configId = await fixture.createConfig();
  });
  afterAll(async () => {
    await fixture[Symbol.asyncDispose]();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
    if (given === undefined) delete process.env[testDatabaseVariable];
    else process.env[testDatabaseVariable] = given;
  });

  test('no run is lost, and workers go on', async () => {
    const { work, counts } = countingWork(1_000);
    const worker = await fixture.startWorker({ works: { backup: work }, config: { concurrency: 3 } });
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) ids.push(await fixture.submitBackup(configId));
    await fixture.eventually('backup', ids[2] ?? '', (row) => row.status === 'running');
    process.kill(server.pid, 'SIGKILL');
    await delay(500);
    const reachable = async (): Promise<boolean> =>
      fixture.database.db.client.$queryRaw`SELECT 1`.then(
        () => true,
        () => false,
      );
    await expect.poll(reachable, { timeout: 20_000 }).toBe(true);
    for (const id of ids) expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
    expect(counts.size).toBe(8);

    const later = await fixture.submitBackup(configId, { enqueue: false });
    expect(await fixture.eventually('backup', later, isFinal, 30_000)).toMatchObject({ status: 'completed' });
    await worker.stop();
  });
});
