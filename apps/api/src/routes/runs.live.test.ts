import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimRun } from '@holdfast/database/runs';
import type { RunKind } from '@holdfast/jobs/queue-names';
import { missingRedis, startTestRedis } from '@holdfast/jobs/testing/test-redis';
import { backupResult, configBody, endRun, startTestApi, type TestApi } from '../testing/test-api.ts';

interface Row {
  readonly id: string;
  readonly status: string;
}

const noRedis = await missingRedis();

describe.each(['postgresql', 'redis'])('work on the %s backend', (kind) => {
  // Without a Redis on this machine its half is shown as skipped, not passed over.
  const isPossible = kind === 'postgresql' || noRedis === null;
  // oxlint-disable-next-line expect-expect -- it is no test yet
  const it = test.skipIf(!isPossible);
  const stack = new AsyncDisposableStack();
  let api: TestApi;
  let entityId: string;
  let configId: string;
  beforeAll(async () => {
    if (!isPossible) return;
    const redis = kind === 'redis' ? stack.use(await startTestRedis()) : undefined;
    api = stack.use(await startTestApi(redis === undefined ? {} : { redisUrl: redis.url }));
    entityId = await api.addEntity('runs');
    configId = (await api.send('POST', '/configs', configBody(entityId))).json<Row>().id;
  });
  afterAll(() => stack.disposeAsync());

  const isQueued = async (of: RunKind, id: string) => (await api.queues.liveRuns(of, [id])).has(id);
  const addJob = async (more: object = {}, headers: Record<string, string> = {}) =>
    api.send('POST', '/jobs', { backupConfigId: configId, ...more }, { headers });
  const addCompleted = async (): Promise<string> => {
    const { id } = (await addJob()).json<Row>();
    await endRun(api.database, 'backup', id, { status: 'completed', result: backupResult });
    return id;
  };

  it('a job is queued at once, read and listed', async () => {
    const answer = await addJob();
    expect(answer.statusCode, answer.body).toBe(202);
    const job = answer.json<Row>();
    expect(job).toMatchObject({
      businessEntityId: entityId,
      backupConfigId: configId,
      status: 'queued',
      attempt: 0,
      trigger: 'request',
      fileSize: null,
    });
    expect(await isQueued('backup', job.id)).toBe(true);
    expect((await api.send('GET', `/jobs/${job.id}`)).json()).toEqual(job);
    for (const query of [`status=queued&type=file_system&backupConfigId=${configId}`, `entityId=${entityId}&from=2020-01-01T00:00:00Z`]) {
      expect(
        (await api.send('GET', `/jobs?${query}`)).json<{ items: Row[] }>().items.map(({ id }) => id),
        query,
      ).toContain(job.id);
    }
    for (const query of ['status=failed', 'type=logs', 'to=2020-01-01T00:00:00Z', 'entityId=cother']) {
      expect((await api.send('GET', `/jobs?${query}`)).json<{ items: Row[] }>().items, query).toEqual([]);
    }
  });

  it('a finished job shows its sizes as numbers and its times as text', async () => {
    const id = await addCompleted();
    const job = (await api.send('GET', `/jobs/${id}`)).json<Record<string, unknown>>();
    expect(job).toMatchObject({
      status: 'completed',
      attempt: 1,
      fileSize: 5_000_000_000,
      duration: expect.any(Number),
      snapshotId: backupResult.snapshotId,
    });
    expect(new Date(String(job['endTime'])).toISOString()).toBe(job['endTime']);
  });

  it('a job that waits is executed once, again while it runs, and not when it has finished', async () => {
    const created = await addJob({ execute: false });
    const { id } = created.json<Row>();
    expect([created.statusCode, created.json<Row>().status, await isQueued('backup', id)]).toEqual([201, 'pending', false]);
    const execute = (headers = {}) => api.send('POST', `/jobs/${id}/execute`, undefined, { headers });
    const first = await execute({ 'idempotency-key': `execute ${id}` });
    expect([first.statusCode, first.json<Row>().status, await isQueued('backup', id)]).toEqual([202, 'queued', true]);
    expect((await execute()).json()).toMatchObject({ id, status: 'queued' });
    const claim = await claimRun(api.database, 'backup', id, { workerId: 'w' });
    expect(claim).not.toBeNull();
    const again = await execute();
    expect([again.statusCode, again.json<Row>().status]).toEqual([202, 'running']);
    await endRun(api.database, 'backup', id, { status: 'failed', error: { code: 'path_not_found', message: 'gone' } });
    expect((await execute()).json()).toMatchObject({ status: 409, code: 'run_already_finished' });
    const repeated = await execute({ 'idempotency-key': `execute ${id}` });
    expect([repeated.statusCode, repeated.json()]).toEqual([
      202,
      expect.objectContaining({ id, status: 'failed', errorCode: 'path_not_found' }),
    ]);
  });

  it('two equal requests at once with one key make one row', async () => {
    const headers = { 'idempotency-key': 'the very same' };
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => addJob({}, headers)));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202, 202, 202, 202]);
    expect(new Set(answers.map((answer) => answer.json<Row>().id)).size).toBe(1);
    expect((await addJob({ execute: false }, headers)).json()).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
    const other = await api.send(
      'POST',
      '/jobs',
      { backupConfigId: configId },
      { headers, token: api.token('admin', '*', 'somebody else') },
    );
    expect(other.json<Row>().id).not.toBe(answers[0]?.json<Row>().id);
  });

  it.each(['', 'x'.repeat(256), 'nön'])('a bad Idempotency-Key is refused: %j', async (key) => {
    expect((await addJob({}, { 'idempotency-key': key })).json()).toMatchObject({
      status: 400,
      code: 'request_invalid',
      errors: [{ field: 'idempotency-key' }],
    });
  });

  it('a waiting job is cancelled at once and leaves its queue', async () => {
    const { id } = (await addJob()).json<Row>();
    const cancel = () => api.send('POST', `/jobs/${id}/cancel`, {});
    const answer = await cancel();
    expect([answer.statusCode, answer.json<Row>().status, await isQueued('backup', id)]).toEqual([200, 'cancelled', false]);
    expect((await cancel()).statusCode).toBe(200);
  });

  it('a running job is asked to stop, a finished one is not cancelled', async () => {
    const { id } = (await addJob()).json<Row>();
    await claimRun(api.database, 'backup', id, { workerId: 'w' });
    const answer = await api.send('POST', `/jobs/${id}/cancel`);
    expect([answer.statusCode, answer.json()]).toEqual([
      202,
      expect.objectContaining({ status: 'running', cancelRequestedAt: expect.any(String) }),
    ]);
    const done = await addCompleted();
    expect((await api.send('POST', `/jobs/${done}/cancel`)).json()).toMatchObject({ status: 409, code: 'run_already_finished' });
  });

  it('a completed backup is verified, others are not', async () => {
    const id = await addCompleted();
    for (const verificationType of ['checksum', 'integrity', 'restore_test']) {
      const answer = await api.send('POST', `/jobs/${id}/verify`, { verificationType });
      expect([answer.statusCode, answer.json()]).toEqual([
        202,
        expect.objectContaining({ backupJobId: id, verificationType, status: 'queued', details: null }),
      ]);
      expect(await isQueued('verify', answer.json<Row>().id)).toBe(true);
    }
    const list = (await api.send('GET', `/jobs/${id}/verifications`)).json<{ items: Row[] }>().items;
    expect(list).toHaveLength(3);
    expect((await api.send('GET', `/jobs/${id}/verifications?type=integrity`)).json<{ items: Row[] }>().items).toHaveLength(1);
    expect((await api.send('GET', `/verifications?backupJobId=${id}`)).json<{ items: Row[] }>().items).toEqual(list);
    expect((await api.send('GET', `/verifications/${list[0]?.id}`)).json()).toEqual(list[0]);
    expect((await api.send('POST', `/verifications/${list[0]?.id}/cancel`)).json()).toMatchObject({ status: 'cancelled' });

    const waiting = (await addJob()).json<Row>().id;
    expect((await api.send('POST', `/jobs/${waiting}/verify`, { verificationType: 'checksum' })).json()).toMatchObject({
      status: 409,
      code: 'run_not_finished',
    });
    await endRun(api.database, 'backup', waiting, { status: 'failed', error: { code: 'internal', message: 'x' } });
    expect((await api.send('POST', `/jobs/${waiting}/verify`, { verificationType: 'checksum' })).json()).toMatchObject({
      status: 409,
      code: 'backup_not_usable',
    });
    for (const body of [undefined, {}, { verificationType: 'glance' }, { verificationType: 'checksum', more: 1 }]) {
      expect((await api.send('POST', `/jobs/${id}/verify`, body)).json()).toMatchObject({ status: 400, code: 'request_invalid' });
    }
  });

  const recovery = (backupJobId: string, more: object = {}) => ({
    backupJobId,
    recoveryType: 'full',
    targetLocation: '/srv/restored/here',
    ...more,
  });

  it('a backup is recovered, in full and in parts, also when its config is deleted', async () => {
    const ownConfig = (await api.send('POST', '/configs', configBody(entityId))).json<Row>().id;
    const { id } = (await api.send('POST', '/jobs', { backupConfigId: ownConfig })).json<Row>();
    await endRun(api.database, 'backup', id, { status: 'completed', result: backupResult });
    await api.send('DELETE', `/configs/${ownConfig}`);
    const full = await api.send('POST', '/recovery', recovery(id));
    expect([full.statusCode, full.json()]).toEqual([
      202,
      expect.objectContaining({ backupJobId: id, status: 'queued', options: { overwrite: false } }),
    ]);
    expect(await isQueued('recovery', full.json<Row>().id)).toBe(true);
    const selective = await api.send(
      'POST',
      '/recovery',
      recovery(id, { recoveryType: 'selective', paths: ['/srv/data/a'], overwrite: true, execute: false }),
    );
    expect([selective.statusCode, selective.json()]).toEqual([
      201,
      expect.objectContaining({ status: 'pending', options: { paths: ['/srv/data/a'], overwrite: true } }),
    ]);
    const started = await api.send('POST', `/recovery/${selective.json<Row>().id}/execute`);
    expect([started.statusCode, started.json<Row>().status]).toEqual([202, 'queued']);
    expect((await api.send('POST', `/recovery/${full.json<Row>().id}/cancel`)).json()).toMatchObject({ status: 'cancelled' });
    expect((await api.send('POST', `/recovery/${full.json<Row>().id}/execute`)).json()).toMatchObject({
      status: 409,
      code: 'run_already_finished',
    });
    expect((await api.send('GET', `/recovery?backupJobId=${id}&status=queued`)).json<{ items: Row[] }>().items).toHaveLength(1);
    await endRun(api.database, 'recovery', selective.json<Row>().id, {
      status: 'completed',
      result: { recoveredRecords: 12n, metadata: {} },
    });
    expect((await api.send('GET', `/recovery/${selective.json<Row>().id}`)).json()).toMatchObject({
      status: 'completed',
      recoveredRecords: 12,
    });
  });

  it.each<[string, object, number, string, string | undefined]>([
    ['an unknown field', { colour: 1 }, 400, 'request_invalid', 'colour'],
    ['a point in time of files', { recoveryType: 'point_in_time', pointInTime: { latest: true } }, 400, 'request_invalid', 'recoveryType'],
    ['no point in time', { recoveryType: 'point_in_time' }, 400, 'request_invalid', 'pointInTime'],
    ['an unknown type', { recoveryType: 'partly' }, 400, 'request_invalid', 'recoveryType'],
    ['a target outside the roots', { targetLocation: '/etc' }, 422, 'path_outside_roots', 'targetLocation'],
    ['a target that climbs out', { targetLocation: '/srv/restored/../data' }, 422, 'path_outside_roots', 'targetLocation'],
    ['a relative target', { targetLocation: 'here' }, 400, 'request_invalid', 'targetLocation'],
    ['parts without paths', { recoveryType: 'selective' }, 400, 'request_invalid', 'paths'],
    ['all with paths', { paths: ['/srv/data/a'] }, 400, 'request_invalid', 'paths'],
    ['no paths at all', { recoveryType: 'selective', paths: [] }, 400, 'request_invalid', 'paths'],
    ['a wrong type', { overwrite: 'yes' }, 400, 'request_invalid', 'overwrite'],
    ['an unknown backup', { backupJobId: 'cnothere' }, 404, 'not_found', undefined],
  ])('a recovery is refused for %s', async (_name, more, status, code, field) => {
    const answer = await api.send('POST', '/recovery', recovery(await addCompleted(), more));
    expect(answer.json()).toMatchObject({ status, code, ...(field === undefined ? {} : { errors: [expect.objectContaining({ field })] }) });
  });

  it('a backup that is not completed is not recovered', async () => {
    const { id } = (await addJob()).json<Row>();
    expect((await api.send('POST', '/recovery', recovery(id))).json()).toMatchObject({ status: 409, code: 'run_not_finished' });
  });

  it('cleanup makes a job for each repository meant, once for a key', async () => {
    const headers = { 'idempotency-key': 'sweep' };
    const clean = (body?: object) => api.send('POST', '/maintenance/cleanup', body, { headers });
    const [first, second] = await Promise.all([clean({ businessEntityId: entityId }), clean({ businessEntityId: entityId })]);
    expect([first.statusCode, second.statusCode]).toEqual([202, 202]);
    const { items } = first.json<{ items: Row[] }>();
    expect(items).toMatchObject([{ businessEntityId: entityId, status: 'queued', dryRun: false }]);
    expect(second.json<{ items: Row[] }>().items.map(({ id }) => id)).toEqual(items.map(({ id }) => id));
    const id = items[0]?.id ?? '';
    expect(await isQueued('cleanup', id)).toBe(true);
    expect((await api.send('GET', `/maintenance/cleanup/${id}`)).json()).toMatchObject({ id });
    expect(
      (await api.send('GET', `/maintenance/cleanup?entityId=${entityId}`)).json<{ items: Row[] }>().items.map((row) => row.id),
    ).toContain(id);
    expect((await api.send('POST', `/maintenance/cleanup/${id}/cancel`)).json()).toMatchObject({ status: 'cancelled' });
    expect((await api.send('POST', '/maintenance/cleanup', { dryRun: true })).json<{ items: Row[] }>().items).toMatchObject([
      { dryRun: true },
    ]);
    expect((await api.send('POST', '/maintenance/cleanup')).statusCode).toBe(202);
    for (const body of [{ businessEntityId: 'cnothere' }, { repositoryId: 'cnothere' }]) {
      expect((await api.send('POST', '/maintenance/cleanup', body)).json()).toMatchObject({ status: 404, code: 'not_found' });
    }
    expect((await api.send('POST', '/maintenance/cleanup', { dryrun: true })).json()).toMatchObject({
      status: 400,
      errors: [{ field: 'dryrun' }],
    });
  });

  it('pages go through every row once', async () => {
    for (let made = 0; made < 5; made++) await addJob({ execute: false });
    const all = (await api.send('GET', '/jobs?limit=200')).json<{ items: Row[] }>().items.map(({ id }) => id);
    const seen: string[] = [];
    for (let cursor = ''; ;) {
      const page = (await api.send('GET', `/jobs?limit=2${cursor}`)).json<{ items: Row[]; nextCursor: string | null }>();
      seen.push(...page.items.map(({ id }) => id));
      if (page.nextCursor === null) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    expect(seen).toEqual(all);
  });

  it.each([
    'limit=0',
    'limit=201',
    'limit=x',
    'cursor=nonsense',
    'status=odd',
    'type=odd',
    'from=yesterday',
    'colour=red',
    'entityId=%00',
    'limit=1&limit=2',
  ])('a bad query is refused: %s', async (query) => {
    expect((await api.send('GET', `/jobs?${query}`)).json()).toMatchObject({ status: 400, code: 'request_invalid' });
  });

  it.each([{ backupConfigId: 'cnothere' }, { backupConfigId: 5 }, {}, { execute: 'no' }, { colour: 1 }])(
    'a bad job is refused: %j',
    async (body) => {
      const answer = await api.send('POST', '/jobs', body);
      expect(answer.json<{ code: string }>().code).toBe(
        'backupConfigId' in body && body.backupConfigId === 'cnothere' ? 'not_found' : 'request_invalid',
      );
    },
  );

  it.each(['cnothere', 'x'.repeat(64), '0'])('an unknown id is not found: %s', async (id) => {
    for (const path of [`/jobs/${id}`, `/recovery/${id}`, `/verifications/${id}`, `/configs/${id}`, `/dr-plans/${id}`]) {
      expect((await api.send('GET', path)).json(), path).toMatchObject({ status: 404, code: 'not_found' });
    }
    expect((await api.send('POST', `/jobs/${id}/execute`)).json()).toMatchObject({ status: 404 });
  });

  it('pause and resume are seen in the status and in the event log', async () => {
    expect((await api.send('GET', '/status')).json()).toMatchObject({
      state: 'running',
      queueBackend: kind,
      paused: { backup: false },
      workers: [],
    });
    expect((await api.send('POST', '/service/stop')).json()).toEqual({ state: 'paused' });
    expect((await api.send('GET', '/status')).json()).toMatchObject({
      state: 'paused',
      paused: { backup: true, verify: true, recovery: true, cleanup: true, adopt: true },
    });
    expect((await addJob()).statusCode).toBe(202);
    await api.queues.byName.verify.resume();
    expect((await api.send('GET', '/status')).json()).toMatchObject({ state: 'partly_paused' });
    expect((await api.send('POST', '/service/start', {})).json()).toEqual({ state: 'running' });
    expect((await api.send('GET', '/status')).json()).toMatchObject({
      state: 'running',
      queues: { backup: { waiting: expect.any(Number) } },
    });
    const types = (await api.database.client.event.findMany({ where: { subjectKind: 'service' }, orderBy: { sequence: 'asc' } })).map(
      ({ type }) => type,
    );
    expect(types).toEqual(['service.paused', 'service.resumed']);
  });

  it('metrics tell what the rows say', async () => {
    const metrics = (await api.send('GET', `/metrics/backup?entityId=${entityId}`)).json<{
      byStatus: Record<string, number>;
      totalSizeBytes: number;
    }>();
    expect(metrics.byStatus['completed']).toBeGreaterThan(0);
    expect(metrics.totalSizeBytes).toBe(5_000_000_000 * (metrics.byStatus['completed'] ?? 0));
    expect((await api.send('GET', '/metrics/recovery')).json()).toMatchObject({
      recoveredRecords: 12,
      successRate: 1,
      lastSuccessAt: expect.any(String),
    });
    expect((await api.send('GET', '/metrics/recovery?to=2020-01-01T00:00:00Z')).json()).toMatchObject({ total: 0, successRate: null });
    expect((await api.send('GET', '/metrics/backup?colour=1')).statusCode).toBe(400);
  });

  it('health tells the three parts', async () => {
    const health = await api.send('GET', '/health', undefined, { token: null });
    expect([health.statusCode, health.json()]).toEqual([
      200,
      expect.objectContaining({
        state: 'ok',
        database: { state: 'ok', latencyMs: expect.any(Number), errorCode: null },
        queue: { state: 'ok', latencyMs: expect.any(Number), errorCode: null, backend: kind },
        storage: expect.objectContaining({ state: 'unknown', failingCount: 0 }),
      }),
    ]);
  });
});
