import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

interface Row {
  readonly id: string;
  readonly status: string;
}

describe('a queue that does not answer', () => {
  let api: TestApi;
  let configId: string;
  beforeAll(async () => {
    const refuse = () => Promise.reject(new HoldfastError('queue_unreachable', 'the queue does not answer'));
    api = await startTestApi({
      wrapQueues: (queues) => ({ ...queues, enqueueRun: refuse, removeRun: refuse, ping: refuse, paused: refuse, pauseAll: refuse }),
    });
    configId = (await api.send('POST', '/configs', configBody(await api.addEntity('e')))).json<Row>().id;
  });
  afterAll(() => api[Symbol.asyncDispose]());

  test('loses no accepted job', async () => {
    const answer = await api.send('POST', '/jobs', { backupConfigId: configId });
    expect([answer.statusCode, answer.json<Row>().status]).toEqual([202, 'queued']);
    expect((await api.send('POST', `/jobs/${answer.json<Row>().id}/cancel`)).json()).toMatchObject({ status: 'cancelled' });
  });

  test('is told by health and status', async () => {
    const health = await api.send('GET', '/health', undefined, { token: null });
    expect([health.statusCode, health.json()]).toEqual([
      503,
      expect.objectContaining({
        state: 'down',
        queue: { state: 'down', latencyMs: null, errorCode: 'queue_unreachable', backend: 'postgresql' },
      }),
    ]);
    expect((await api.send('GET', '/status')).json()).toMatchObject({ status: 503, code: 'queue_unreachable' });
    expect((await api.send('POST', '/service/stop')).json()).toMatchObject({ status: 503, code: 'queue_unreachable' });
    expect(await api.database.client.event.count({ where: { subjectKind: 'service' } })).toBe(0);
  });
});
