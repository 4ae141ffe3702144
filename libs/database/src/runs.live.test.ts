import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listen, type Notification } from './listen.ts';
import { runKinds } from './run-kinds.ts';
import {
  cancelChannel,
  claimRun,
  commitUnderFence,
  finishRun,
  finishRunIn,
  heartbeatRuns,
  releaseRun,
  requestCancel,
  runsOwed,
  startRun,
} from './runs.ts';
import { sampleBackup, sampleClaim, sampleResult } from './testing/sample-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
const db = () => database.db;
const row = (id: string) => db().client.backupJob.findUniqueOrThrow({ where: { id } });
const eventTypes = async (id: string) => {
  const events = await db().client.event.findMany({ where: { subjectId: id }, orderBy: { sequence: 'asc' } });
  return events.map(({ type }) => type);
};
const done = { status: 'completed', result: sampleResult } as const;

const claimed = (id: string, workerId = 'worker-1') => sampleClaim(db(), 'backup', id, workerId);

beforeAll(async () => {
  database = await createTestDatabase({ poolSize: 12 });
});
afterAll(() => database.drop());

describe('claiming', () => {
  test('takes a queued run, and takes it over from whoever has it', async () => {
    const { id } = await sampleBackup(db());
    const first = await claimed(id);
    expect(first).toEqual({ kind: 'backup', id, attempt: 1, fencingNumber: 1n });
    const { startTime, heartbeatAt, claimedBy } = await row(id);
    expect(claimedBy).toBe('worker-1');
    expect(Math.abs((heartbeatAt?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    const second = await claimed(id, 'worker-2');
    expect(second).toEqual({ kind: 'backup', id, attempt: 2, fencingNumber: 2n });
    expect((await row(id)).startTime).toEqual(startTime);
    expect(await eventTypes(id)).toEqual(['backup.queued', 'backup.running', 'backup.running']);
  });

  test('by many at once gives each a fencing number of its own, and only the newest holds', async () => {
    const { id } = await sampleBackup(db());
    const claims = await Promise.all(Array.from({ length: 10 }, (_, index) => claimed(id, `worker-${index}`)));
    expect(claims.map((claim) => Number(claim.fencingNumber)).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const { held, superseded } = await heartbeatRuns(db(), claims);
    expect(held.map((claim) => claim.fencingNumber)).toEqual([10n]);
    expect(superseded).toHaveLength(9);
    const ends = await Promise.allSettled(claims.map((claim) => finishRun(db(), claim, done)));
    expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(1);
  });

  test('gives nothing for what is pending, final or missing', async () => {
    const pending = await sampleBackup(db(), { execute: false });
    expect(await claimRun(db(), 'backup', pending.id, { workerId: 'w' })).toBeNull();
    const finished = await sampleBackup(db());
    await finishRun(db(), await claimed(finished.id), done);
    expect(await claimRun(db(), 'backup', finished.id, { workerId: 'w' })).toBeNull();
    expect(await claimRun(db(), 'recovery', 'nothing', { workerId: 'w' })).toBeNull();
  });

  test('of a run that is to be cancelled cancels it', async () => {
    const { id } = await sampleBackup(db());
    await claimed(id);
    await requestCancel(db(), 'backup', id);
    expect(await claimRun(db(), 'backup', id, { workerId: 'worker-2' })).toBeNull();
    expect(await row(id)).toMatchObject({ status: 'cancelled', attempt: 1 });
  });
});

describe('finishing', () => {
  test('writes the result and the times, once, and may be told again', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    await finishRun(db(), claim, done);
    await finishRun(db(), claim, done);
    const finished = await row(id);
    expect(finished).toMatchObject({ status: 'completed', ...sampleResult, errorCode: null });
    expect(finished.duration).toBe(BigInt((finished.endTime?.getTime() ?? 0) - (finished.startTime?.getTime() ?? 0)));
    expect(await eventTypes(id)).toEqual(['backup.queued', 'backup.running', 'backup.completed']);
  });

  test('by a former holder is refused and changes nothing', async () => {
    const { id } = await sampleBackup(db());
    const old = await claimed(id);
    const current = await claimed(id, 'worker-2');
    await expect(finishRun(db(), old, done)).rejects.toMatchObject({ code: 'run_superseded' });
    await expect(releaseRun(db(), old, { code: 'internal', message: '' })).rejects.toMatchObject({ code: 'run_superseded' });
    await expect(finishRun(db(), old, { status: 'cancelled' })).rejects.toMatchObject({ code: 'run_superseded' });
    expect(await row(id)).toMatchObject({ status: 'running', snapshotId: null });
    await finishRun(db(), current, done);
    await expect(finishRun(db(), old, done)).rejects.toMatchObject({ code: 'run_superseded' });
  });

  test('as failed keeps the error, and its event tells it', async () => {
    const { id } = await sampleBackup(db());
    await finishRun(db(), await claimed(id), { status: 'failed', error: { code: 'path_not_found', message: '/srv/x is not there' } });
    expect(await row(id)).toMatchObject({ status: 'failed', errorCode: 'path_not_found', errorMessage: '/srv/x is not there' });
    const event = await db().client.event.findFirstOrThrow({ where: { subjectId: id, type: 'backup.failed' } });
    expect(event.data).toEqual({ status: 'failed', attempt: 1, errorCode: 'path_not_found', errorMessage: '/srv/x is not there' });
  });

  test('is refused on another end than the one that was told', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    await finishRun(db(), claim, done);
    await expect(finishRun(db(), claim, { status: 'cancelled' })).rejects.toMatchObject({ code: 'run_superseded' });
  });
});

describe('releasing', () => {
  test('puts a run back with its error, to be claimed with the next attempt', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    expect(await releaseRun(db(), claim, { code: 'storage_unreachable', message: 'no route' })).toBe('queued');
    expect(await releaseRun(db(), claim, { code: 'storage_unreachable', message: 'no route' })).toBe('queued');
    expect(await row(id)).toMatchObject({ status: 'queued', errorCode: 'storage_unreachable', claimedBy: null, attempt: 1 });
    expect((await claimed(id)).attempt).toBe(2);
    expect(await eventTypes(id)).toEqual(['backup.queued', 'backup.running', 'backup.retrying', 'backup.running']);
  });

  test('ends a run that is to be cancelled', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    await requestCancel(db(), 'backup', id);
    expect(await releaseRun(db(), claim, { code: 'run_interrupted', message: '' })).toBe('cancelled');
  });
});

describe('starting and cancelling', () => {
  test('execute starts a pending run once and refuses a finished one', async () => {
    const { id } = await sampleBackup(db(), { execute: false });
    expect(await startRun(db(), 'backup', id)).toBe('queued');
    expect(await startRun(db(), 'backup', id)).toBe('queued');
    const claim = await claimed(id);
    expect(await startRun(db(), 'backup', id)).toBe('running');
    await finishRun(db(), claim, done);
    await expect(startRun(db(), 'backup', id)).rejects.toMatchObject({ code: 'run_already_finished' });
    await expect(startRun(db(), 'backup', 'nothing')).rejects.toMatchObject({ code: 'not_found' });
    expect(await eventTypes(id)).toEqual(['backup.accepted', 'backup.queued', 'backup.running', 'backup.completed']);
  });

  test('cancel ends a waiting run at once', async () => {
    for (const execute of [true, false]) {
      const { id } = await sampleBackup(db(), { execute });
      expect(await requestCancel(db(), 'backup', id)).toBe('cancelled');
      expect(await requestCancel(db(), 'backup', id)).toBe('cancelled');
      expect(await row(id)).toMatchObject({ status: 'cancelled', duration: null });
    }
  });

  test('cancel asks the worker of a running one, by notification and heartbeat', async () => {
    const heard: Notification[] = [];
    await using listener = listen(database.url, [cancelChannel], (notification) => heard.push(notification), {
      onError: (error) => expect.unreachable(String(error)),
    });
    await listener.ready;
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    expect((await heartbeatRuns(db(), [claim])).cancelRequested).toEqual([]);
    expect(await requestCancel(db(), 'backup', id)).toBe('running');
    expect((await heartbeatRuns(db(), [claim])).cancelRequested).toEqual([claim]);
    await expect.poll(() => heard).toEqual([{ channel: cancelChannel, payload: `backup:${id}` }]);
    await finishRun(db(), claim, { status: 'cancelled' });
    await expect(startRun(db(), 'backup', id)).rejects.toMatchObject({ code: 'run_already_finished' });
    expect(await eventTypes(id)).toEqual(['backup.queued', 'backup.running', 'backup.cancelling', 'backup.cancelled']);
  });
});

describe('a commit under fence', () => {
  test('keeps others from claiming and cancelling until it has ended', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    const order: string[] = [];
    const begun = Promise.withResolvers<void>();
    const committing = commitUnderFence(db(), claim, async (tx) => {
      begun.resolve();
      await delay(300);
      order.push('committed');
      await finishRunIn(tx, claim, done);
    });
    await begun.promise;
    const claiming = claimRun(db(), 'backup', id, { workerId: 'worker-2' }).finally(() => order.push('claim answered'));
    const cancelling = requestCancel(db(), 'backup', id).catch((error: unknown) => error);
    const beating = heartbeatRuns(db(), [claim]).finally(() => order.push('heartbeat answered'));
    await committing;
    expect(await claiming).toBeNull();
    expect(await cancelling).toMatchObject({ code: 'run_already_finished' });
    expect((await beating).held).toEqual([claim]);
    expect(order.slice(0, 2)).toEqual(['heartbeat answered', 'committed']);
    expect((await row(id)).status).toBe('completed');
  });

  test('does nothing for a former holder, or when the run is to be cancelled', async () => {
    const { id } = await sampleBackup(db());
    const old = await claimed(id);
    const current = await claimed(id, 'worker-2');
    const action = async () => expect.unreachable('the action must not run');
    await expect(commitUnderFence(db(), old, action)).rejects.toMatchObject({ code: 'run_superseded' });
    await requestCancel(db(), 'backup', id);
    await expect(commitUnderFence(db(), current, action)).rejects.toMatchObject({ code: 'run_cancelled' });
  });

  test('that fails leaves the row as it was', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    const failing = commitUnderFence(db(), claim, async (tx) => {
      await finishRunIn(tx, claim, done);
      throw new Error('the storage is full');
    });
    await expect(failing).rejects.toThrow('the storage is full');
    expect(await row(id)).toMatchObject({ status: 'running', snapshotId: null });
    expect(await eventTypes(id)).toEqual(['backup.queued', 'backup.running']);
  });

  test('that takes too long is told so and lets the row go', async () => {
    const { id } = await sampleBackup(db());
    const claim = await claimed(id);
    const told = Promise.withResolvers<void>();
    const slow = commitUnderFence(
      db(),
      claim,
      async (tx, signal) => {
        signal.addEventListener('abort', () => told.resolve());
        await delay(400);
        await finishRunIn(tx, claim, done);
      },
      { timeoutMs: 100 },
    );
    const refused = slow.catch((error: unknown) => error);
    await told.promise;
    expect((await claimed(id, 'worker-2')).attempt).toBe(2);
    expect(await refused).toMatchObject({ code: 'database_unreachable' });
    expect((await row(id)).status).toBe('running');
  });
});

test('what is owed: queued for long, or running and silent', async () => {
  const now = Date.now();
  const queued = await sampleBackup(db());
  const silent = await sampleBackup(db());
  await claimed(silent.id);
  const alive = await sampleBackup(db());
  await claimed(alive.id);
  const pending = await sampleBackup(db(), { execute: false });
  await db().client.backupJob.update({ where: { id: silent.id }, data: { heartbeatAt: new Date(now - 60_000) } });
  await db().client.backupJob.update({ where: { id: queued.id }, data: { queuedAt: new Date(now - 6_000) } });
  const owed = await runsOwed(db().client, { queuedForMs: 5_000, silentForMs: 45_000, limit: 100 });
  const ids = owed.map(({ kind, id, status }) => `${kind} ${id} ${status}`);
  expect(ids).toContain(`backup ${queued.id} queued`);
  expect(ids).toContain(`backup ${silent.id} running`);
  expect(ids.join()).not.toContain(alive.id);
  expect(ids.join()).not.toContain(pending.id);
});

test('all kinds have the same run columns and know the same moves', async () => {
  for (const kind of runKinds) {
    expect(await claimRun(db(), kind, 'nothing', { workerId: 'w' })).toBeNull();
    await expect(requestCancel(db(), kind, 'nothing')).rejects.toMatchObject({ code: 'not_found' });
    expect((await heartbeatRuns(db(), [{ kind, id: 'nothing', attempt: 1, fencingNumber: 1n }])).superseded).toHaveLength(1);
  }
});
