import { setTimeout as delay } from 'node:timers/promises';
import { missingRedis, startTestRedis } from '@holdfast/jobs/testing/test-redis';
import { registerWorker, removeWorker } from '@holdfast/database/workers';
import { joinServicePause } from '@holdfast/database/service-state';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addTenant, backupResult, configBody, endRun, eventually, startTestApi, type TestApi } from '../testing/test-api.ts';
import { startWaitingDuty } from '../waiting-duty.ts';

const backends: readonly ('redis' | 'postgresql')[] = (await missingRedis()) === null ? ['redis', 'postgresql'] : ['postgresql'];

describe.each(backends)('routing by labels, with queues on %s', (kind) => {
  let api: TestApi;
  const stack = new AsyncDisposableStack();
  let entityId = '';

  beforeAll(async () => {
    const redis = kind === 'redis' ? stack.use(await startTestRedis()) : null;
    api = stack.use(await startTestApi({ ...(redis === null ? {} : { redisUrl: redis.url }), waitingAlertMs: 0 }));
    entityId = await api.addEntity('routed');
  });
  afterAll(() => stack.disposeAsync());

  const create = async (path: string, body: object): Promise<{ id: string; [field: string]: unknown }> => {
    const answer = await api.send('POST', path, body);
    if (answer.statusCode >= 300) throw new Error(`POST ${path}: ${answer.body}`);
    return answer.json();
  };
  let configCount = 0;
  const addConfig = (workerLabel: string | null) =>
    create(
      '/configs',
      configBody(entityId, { workerLabel, storageOptions: { type: 'local', path: `/srv/backups/${kind}${configCount++}` } }),
    );
  const comes = (id: string, labels: string[]) => registerWorker(api.database.client, { id, hostname: 'here', pid: 1, labels });
  const isLive = async (id: string, label: string | null) => (await api.queues.liveRuns('backup', [id], label)).has(id);
  const status = async () => (await api.send('GET', '/status')).json<Record<string, unknown>>();

  test('a config names a label, keeps it, changes it and drops it', async () => {
    const config = await addConfig('host:db1');
    expect(config).toMatchObject({ workerLabel: 'host:db1' });
    const put = async (body: object) => (await api.send('PUT', `/configs/${config.id}`, body)).json<object>();
    expect(await put({ name: 'renamed' })).toMatchObject({ workerLabel: 'host:db1' });
    expect(await put({ workerLabel: 'site-berlin' })).toMatchObject({ workerLabel: 'site-berlin' });
    expect(await put({ workerLabel: null })).toMatchObject({ workerLabel: null });
    expect(await create('/configs', configBody(entityId))).toMatchObject({ workerLabel: null });
  });

  test.each(['Berlin', '', 'a b', 'a/b', '../x', 'x'.repeat(64), 7])('a label that is %j is refused by name', async (workerLabel) => {
    const config = await addConfig(null);
    for (const [method, path, body] of [
      ['POST', '/configs', configBody(entityId, { workerLabel })],
      ['PUT', `/configs/${config.id}`, { workerLabel }],
      ['POST', '/recovery', { backupJobId: 'x', recoveryType: 'full', targetLocation: '/srv/restored/x', workerLabel }],
    ] as const) {
      const answer = await api.send(method, path, body);
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toMatchObject({ code: 'request_invalid', errors: [expect.objectContaining({ field: 'workerLabel' })] });
    }
  });

  test('runs go to the queue of their label, and follow their config to another', async () => {
    const config = await addConfig('from');
    const run = await create('/jobs', { backupConfigId: config.id });
    expect(run).toMatchObject({ status: 'queued', workerLabel: 'from' });
    expect([await isLive(run.id, 'from'), await isLive(run.id, null)]).toEqual([true, false]);
    await api.send('PUT', `/configs/${config.id}`, { workerLabel: 'to' });
    expect([await isLive(run.id, 'from'), await isLive(run.id, 'to')]).toEqual([false, true]);
    await api.send('PUT', `/configs/${config.id}`, { workerLabel: null });
    expect([await isLive(run.id, 'to'), await isLive(run.id, null)]).toEqual([false, true]);
    await api.send('PUT', `/configs/${config.id}`, { workerLabel: 'to' });
    expect((await api.send('POST', `/jobs/${run.id}/cancel`, {})).statusCode).toBe(200);
    expect(await isLive(run.id, 'to')).toBe(false);
  });

  test('a recovery goes where its backup is from, or where it is told to', async () => {
    const config = await addConfig('host:db1');
    const run = await create('/jobs', { backupConfigId: config.id });
    await endRun(api.database, 'backup', run.id, { status: 'completed', result: backupResult });
    const body = { backupJobId: run.id, recoveryType: 'full', targetLocation: '/srv/restored/x' };
    const own = await create('/recovery', body);
    const spare = await create('/recovery', { ...body, workerLabel: 'host:spare' });
    const any = await create('/recovery', { ...body, workerLabel: null });
    expect([own, spare, any].map(({ workerLabel }) => workerLabel)).toEqual(['host:db1', 'host:spare', null]);
    expect(await create(`/jobs/${run.id}/verify`, { verificationType: 'checksum' })).toMatchObject({ workerLabel: 'host:db1' });
    expect(await api.queues.liveRuns('recovery', [spare.id], 'host:spare')).toEqual(new Set([spare.id]));
  });

  test('a run waits visibly until a worker is there that may do it', async () => {
    const config = await addConfig('site-berlin');
    const { id } = await create('/jobs', { backupConfigId: config.id });
    await comes('elsewhere', ['site-wien']);
    const read = async () => (await api.send('GET', `/jobs/${id}`)).json<{ waitingFor: { since: string } | null; queuedAt: string }>();
    const seen = await read();
    expect(seen).toMatchObject({ status: 'queued', waitingFor: { workerLabel: 'site-berlin', since: seen.queuedAt } });
    const list = (await api.send('GET', `/jobs?backupConfigId=${config.id}`)).json<{ items: object[] }>();
    expect(list.items).toMatchObject([
      { id, waitingFor: { message: expect.stringContaining('no worker with the label site-berlin') as string } },
    ]);
    const duties = [1, 2, 3].map(() =>
      startWaitingDuty(
        api.database,
        { info: () => undefined, warn: () => undefined, debug: () => undefined },
        { intervalMs: 20, afterMs: 0 },
      ),
    );
    const typesOf = async () => (await api.database.client.event.findMany({ where: { subjectId: id } })).map(({ type }) => type);
    await eventually(async () => ((await typesOf()).includes('backup.waiting_for_worker') ? true : undefined));
    await delay(200);
    expect(await typesOf()).toEqual(['backup.queued', 'backup.waiting_for_worker']);
    const alertsOf = async () =>
      ((await status())['alerts'] as { subject: string | null }[]).filter(({ subject }) => subject === 'site-berlin');
    expect(await alertsOf()).toMatchObject([{ code: 'waiting_for_worker', message: expect.stringContaining('1 run waits') as string }]);
    expect((await status())['labelledQueues']).toContainEqual(
      expect.objectContaining({ kind: 'backup', workerLabel: 'site-berlin', waiting: 1 }),
    );

    await comes('there', ['site-berlin']);
    expect((await read()).waitingFor).toBeNull();
    expect(await alertsOf()).toEqual([]);
    expect((await status())['workers']).toContainEqual(
      expect.objectContaining({ id: 'there', labels: ['site-berlin'], labelsOnly: false }),
    );
    await eventually(async () => ((await typesOf()).includes('backup.worker_found') ? true : undefined));
    await Promise.all(duties.map((duty) => duty.stop()));
    await removeWorker(api.database.client, 'there');
    expect((await read()).waitingFor).toMatchObject({ workerLabel: 'site-berlin' });
    await endRun(api.database, 'backup', id, { status: 'completed', result: backupResult });
    expect(await read()).toMatchObject({ status: 'completed', waitingFor: null });
  });

  test('what waits is told to those only who may see the runs', async () => {
    const [mine, theirs] = [await addTenant(api, `mine ${kind}`), await addTenant(api, `theirs ${kind}`)];
    await api.send('PUT', `/configs/${theirs.configId}`, { workerLabel: 'secret-site' });
    await create('/jobs', { backupConfigId: theirs.configId });
    const seenBy = async (entity: string) => {
      const answer = await api.send('GET', '/status', undefined, { token: api.token('viewer', [entity]) });
      return answer.json<{ alerts: { subject: string | null }[] }>().alerts.map(({ subject }) => subject);
    };
    expect(await seenBy(theirs.entityId)).toContain('secret-site');
    expect(await seenBy(mine.entityId)).not.toContain('secret-site');
  });

  test('the board shows the queue of a label that came up while it was open', async () => {
    const headers = { authorization: `Bearer ${api.token('admin')}` };
    const names = async (): Promise<string[]> => {
      const answer = await api.server.inject({ method: 'GET', url: '/admin/queues/api/queues', headers });
      return answer.json<{ queues: { name: string }[] }>().queues.map(({ name }) => name);
    };
    expect(await names()).not.toContain('backup.host~late');
    await create('/jobs', { backupConfigId: (await addConfig('host:late')).id });
    await eventually(async () => ((await names()).includes('backup.host~late') ? true : undefined));
    const answer = await api.server.inject({ method: 'GET', url: '/admin/queues/api/queues?activeQueue=backup.host~late', headers });
    const shown = answer
      .json<{ queues: { name: string; counts: { waiting: number } }[] }>()
      .queues.find(({ name }) => name === 'backup.host~late');
    expect(shown?.counts.waiting).toBe(1);
  });

  test('a service that is paused is so for labels too, those that come up meanwhile included', async () => {
    await comes('paused', ['known']);
    const paused = (labels: string[]) => api.queues.pausedLabels(labels);
    expect((await api.send('POST', '/service/stop', {})).statusCode).toBe(200);
    expect(await paused(['known', 'new'])).toEqual(['known']);
    // As a worker does that starts with a label of which nobody knew.
    const wanted = await joinServicePause(api.database.client, ['new']);
    expect(wanted).toEqual(expect.arrayContaining(['known', 'new']));
    await api.queues.pauseLabels(['new']);
    await removeWorker(api.database.client, 'paused');
    expect((await api.send('POST', '/service/start', {})).statusCode).toBe(200);
    expect(await paused(['known', 'new'])).toEqual([]);
    expect(await joinServicePause(api.database.client, ['newer'])).toBeNull();
  });
});
