import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inTransaction } from '@holdfast/database/in-transaction';
import { rerouteRuns } from '@holdfast/database/reroute-runs';
import { recordServicePause } from '@holdfast/database/service-state';
import { watchProgress, type ProgressEvent } from '@holdfast/jobs/progress-events';
import { createQueueBackend } from '@holdfast/jobs/queue-backend';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunWork } from './run-with-claim.ts';
import type { RunningWorker } from './start-workers.ts';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';
import { startWorkerProcess } from './testing/worker-process.ts';

const done: Awaited<ReturnType<RunWork<'backup'>>> = {
  status: 'completed',
  result: { snapshotId: 'a'.repeat(64), filePath: 'x', fileSize: 1n, checksum: 'b'.repeat(64), metadata: {} },
};

describe.each(backends)('runs with labels on %s', (kind) => {
  let fixture: WorkerFixture;
  let workers: RunningWorker[] = [];
  const configs = new Map<string | null, string>();

  const start = async (
    labels: string[],
    backup: RunWork<'backup'> = () => Promise.resolve(done),
    more: { labelsOnly?: boolean; concurrency?: number } = {},
  ): Promise<RunningWorker> => {
    const worker = await fixture.startWorker({ works: { backup }, config: { labels, shutdownGraceMs: 0, ...more } });
    workers.push(worker);
    return worker;
  };
  const configOf = async (workerLabel: string | null): Promise<string> => {
    const id = configs.get(workerLabel) ?? (await fixture.createConfig({ name: `for ${workerLabel}`, workerLabel }));
    configs.set(workerLabel, id);
    return id;
  };
  const submit = async (workerLabel: string | null, enqueue = true): Promise<string> =>
    fixture.submitBackup(await configOf(workerLabel), { enqueue });
  const ended = (id: string) => fixture.eventually('backup', id, isFinal);

  beforeAll(async () => {
    fixture = await openWorkerFixture(kind);
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    workers = [];
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('are done by workers that carry the label and by no other, and at once when one comes', async () => {
    const other = await start(['host:other']);
    const waiting = await submit('host:db1');
    // Others have their turn at the worker that is there, again and again, and the reconciler looks after the run meanwhile.
    for (const label of ['host:other', null, 'host:other', null]) {
      expect(await ended(await submit(label))).toMatchObject({ status: 'completed', claimedBy: other.workerId });
    }
    await delay(1_500);
    expect(await fixture.eventually('backup', waiting, () => true)).toMatchObject({ status: 'queued', attempt: 0 });
    const carrier = await start(['site-berlin', 'host:db1']);
    expect(await ended(waiting)).toMatchObject({ status: 'completed', claimedBy: carrier.workerId, attempt: 1 });
  });

  test('are all that a worker takes which is there for its labels only', async () => {
    const own = await start(['a'], undefined, { labelsOnly: true });
    const plain = await submit(null);
    expect(await ended(await submit('a'))).toMatchObject({ claimedBy: own.workerId });
    expect(await fixture.eventually('backup', plain, () => true)).toMatchObject({ status: 'queued', attempt: 0 });
    const any = await start([]);
    expect(await ended(plain)).toMatchObject({ claimedBy: any.workerId });
  });

  test('share the bound on runs of a kind, leave each other their turn, and leave to others what there is no room for', async () => {
    const labels = ['a', 'b', null];
    let inHand = 0;
    let most = 0;
    const order: (string | null)[] = [];
    const work: RunWork<'backup'> = async ({ context, claim }) => {
      most = Math.max(most, ++inHand);
      const { workerLabel } = await context.database.client.backupJob.findUniqueOrThrow({ where: { id: claim.id } });
      order.push(workerLabel);
      await delay(30);
      inHand--;
      return done;
    };
    const ids = await Promise.all(labels.flatMap((label) => Array.from({ length: 8 }, () => submit(label))));
    await start(['a', 'b'], work, { concurrency: 2 });
    await Promise.all(ids.map((id) => ended(id)));
    expect(most).toBe(2);
    // None waits until another queue is empty.
    for (const label of labels) expect(order.slice(0, 12)).toContain(label);
  });

  test('wait on their queue for as long as all slots are taken, so that another worker can have them', async () => {
    const release = new AbortController();
    const hold: RunWork<'backup'> = async () => {
      if (!release.signal.aborted) await new Promise<void>((resolve) => release.signal.addEventListener('abort', () => resolve()));
      return done;
    };
    const full = await start(['a'], hold, { concurrency: 2 });
    const held = [await submit('a'), await submit(null)];
    for (const id of held) await fixture.eventually('backup', id, ({ status }) => status === 'running');
    const more = [await submit('a'), await submit(null)];
    await delay(500);
    for (const id of more) expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued', attempt: 0 });
    const free = await start(['a']);
    for (const id of more) expect(await ended(id)).toMatchObject({ claimedBy: free.workerId });
    release.abort();
    for (const id of held) expect(await ended(id)).toMatchObject({ claimedBy: full.workerId });
  });

  test('begin at once with the slot that is free while a queue of another label holds the rest', async () => {
    const release = new AbortController();
    const work: RunWork<'backup'> = async ({ claim }) => {
      if (claim.id === held && !release.signal.aborted) {
        await new Promise<void>((resolve) => release.signal.addEventListener('abort', () => resolve()));
      }
      return done;
    };
    const held = await submit('a');
    await start(['a'], work, { concurrency: 2 });
    await fixture.eventually('backup', held, ({ status }) => status === 'running');
    // A second one of the same queue is looked for before the first one is begun: there is no slot for it.
    for (const id of await Promise.all([submit(null), submit(null), submit(null)])) {
      expect(await ended(id)).toMatchObject({ status: 'completed' });
    }
    release.abort();
    await ended(held);
  });

  test('follow their config to another label, also when only their row does', async () => {
    const configId = await fixture.createConfig({ name: 'moves', workerLabel: 'from' });
    const id = await fixture.submitBackup(configId);
    const { client } = fixture.database.db;
    const { repositoryId } = await client.backupConfig.update({ where: { id: configId }, data: { workerLabel: 'to' } });
    const of = { backupConfigId: configId, repositoryIds: [repositoryId] };
    expect(await inTransaction(fixture.database.db, (tx) => rerouteRuns(tx, of))).toEqual([
      { kind: 'backup', id, status: 'queued', from: 'from', to: 'to' },
    ]);
    expect(await inTransaction(fixture.database.db, (tx) => rerouteRuns(tx, of))).toEqual([]);
    // Its job is still where it was, and whoever takes it there finds that it has gone.
    const former = await start(['from']);
    await expect.poll(async () => (await fixture.queues.liveRuns('backup', [id], 'from')).size).toBe(0);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued', attempt: 0 });
    const latter = await start(['to']);
    const row = await ended(id);
    expect(row).toMatchObject({ status: 'completed', attempt: 1, claimedBy: latter.workerId });
    expect(row.claimedBy).not.toBe(former.workerId);
  });

  test('come back to the queue of their label when it has lost them', async () => {
    const never = await submit('lost', false);
    const wiped = await submit('lost');
    await fixture.redis?.flushAll();
    await start(['other']);
    await expect.poll(async () => (await fixture.queues.liveRuns('backup', [never, wiped], 'lost')).size, { timeout: 10_000 }).toBe(2);
    expect(await fixture.queues.liveRuns('backup', [never, wiped])).toEqual(new Set());
    await start(['lost']);
    for (const id of [never, wiped]) expect(await ended(id)).toMatchObject({ status: 'completed', attempt: 1 });
  });

  test('wait while the service is paused, also when their worker came only then', async () => {
    const { client } = fixture.database.db;
    await recordServicePause(client, true, []);
    const id = await submit('came-later');
    const carrier = await start(['came-later']);
    await delay(1_500);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued', attempt: 0 });
    // As the API resumes.
    await fixture.queues.resumeAll();
    await fixture.queues.resumeLabels(await recordServicePause(client, false));
    expect(await ended(id)).toMatchObject({ claimedBy: carrier.workerId });
  });

  test('are told of by a worker that may not do them, once, when none may', async () => {
    for (let nth = 0; nth < 3; nth++) workers.push(await fixture.startWorker({ timing: { waitingMs: 50, waitingAlertMs: 0 } }));
    const id = await submit('absent');
    const typesOf = async () => (await fixture.database.db.client.event.findMany({ where: { subjectId: id } })).map(({ type }) => type);
    await expect.poll(typesOf, { timeout: 5_000 }).toContain('backup.waiting_for_worker');
    await delay(500);
    expect(await typesOf()).toEqual(['backup.queued', 'backup.waiting_for_worker']);
    await start(['absent']);
    await ended(id);
    expect((await typesOf()).filter((type) => type === 'backup.waiting_for_worker')).toHaveLength(1);
  });

  test('are why a folder is looked at by workers that carry its label and by no other', async () => {
    const { client } = fixture.database.db;
    const path = join(fixture.folder, 'storage', 'far');
    const configId = await fixture.createConfig({
      name: 'far',
      workerLabel: 'far',
      storageOptions: { type: 'local', path },
      locationKey: `local:${path}`,
    });
    const { repositoryId: id } = await client.backupConfig.findUniqueOrThrow({ where: { id: configId } });
    await client.repository.update({ where: { id }, data: { resticId: 'f'.repeat(64) } });
    const seen = async () => (await client.repository.findUniqueOrThrow({ where: { id } })).probeErrorCode;
    await start([]);
    await delay(1_500);
    expect(await seen()).toBeNull();
    await start(['far']);
    await expect.poll(seen, { timeout: 10_000 }).not.toBeNull();
  });

  test('tell their progress to those who listen to the kind', async () => {
    const heard: ProgressEvent[] = [];
    const backend = createQueueBackend({ redisUrl: fixture.config.redisUrl, databaseUrl: fixture.config.databaseUrl });
    await using opened = new AsyncDisposableStack();
    opened.use(watchProgress(backend, { onProgress: (event) => heard.push(event), onError: () => undefined }));
    await delay(500);
    await start(['a'], ({ onProgress }) => {
      onProgress({ phase: 'reading', filesDone: 3, filesTotal: null, bytesDone: 5, bytesTotal: 10 });
      return Promise.resolve(done);
    });
    const id = await submit('a');
    await ended(id);
    await expect.poll(() => heard.length, { timeout: 5_000 }).toBe(1);
    expect(heard[0]).toMatchObject({ kind: 'backup', id, progress: { phase: 'reading', filesDone: 3, bytesDone: 5 } });
  });

  test('go on at another worker with the label when theirs is killed, and never at one without', async () => {
    await writeFile(join(fixture.folder, 'source', 'data'), randomBytes(4 * 1024 ** 2));
    // Slow enough to be killed in the middle: four minutes.
    const configId = await fixture.createConfig({ name: 'slow', workerLabel: 'host:db1', options: { uploadBytesPerSecond: 16 * 1024 } });
    const labels = { HOLDFAST_WORKER_LABELS: 'host:db1' };
    await using first = await startWorkerProcess(fixture, labels);
    await using others = new AsyncDisposableStack();
    others.use(await startWorkerProcess(fixture, { HOLDFAST_WORKER_LABELS: 'host:db2' }));
    const id = await fixture.submitBackup(configId);
    const { claimedBy: firstWorker } = await fixture.eventually('backup', id, ({ status }) => status === 'running');
    await fixture.database.db.client.backupConfig.update({ where: { id: configId }, data: { options: {} } });
    await first.kill();
    // Long enough for every lock to run out and every heartbeat to be too old, several times.
    await delay(6_000);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'running', attempt: 1, claimedBy: firstWorker });
    others.use(await startWorkerProcess(fixture, labels));
    const row = await fixture.eventually('backup', id, isFinal, 60_000);
    expect(row).toMatchObject({ status: 'completed', attempt: 2 });
    expect(row.claimedBy).not.toBe(firstWorker);
  });
});
