import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backupResult, configBody, endRun, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let logsJob: string;
let filesJob: string;

beforeAll(async () => {
  api = await startTestApi();
  const entityId = await api.addEntity('logs');
  const backup = async (more: object): Promise<string> => {
    const config = (await api.send('POST', '/configs', configBody(entityId, more))).json<{ id: string }>();
    const { id } = (await api.send('POST', '/jobs', { backupConfigId: config.id })).json<{ id: string }>();
    await endRun(api.database, 'backup', id, { status: 'completed', result: { ...backupResult, metadata: {} } });
    return id;
  };
  logsJob = await backup({ backupType: 'logs', source: { type: 'logs', globs: ['/srv/data/*.log*'], since: 'P30D' } });
  filesJob = await backup({});
});
afterAll(() => api?.[Symbol.asyncDispose]());

const window = { since: '2026-05-01T22:00:00Z', until: '2026-05-02T04:00:00+02:00' };
const recover = (more: object) =>
  api.send('POST', '/recovery', {
    backupJobId: logsJob,
    recoveryType: 'selective',
    targetLocation: '/srv/restored/logs',
    execute: false,
    ...more,
  });

describe('a recovery of logs by a window of time', () => {
  test('is accepted, with one end or both', async () => {
    for (const given of [window, { since: window.since }, { until: window.until }]) {
      const answer = await recover({ window: given });
      expect(answer.statusCode, answer.body).toBe(201);
      expect(answer.json()).toMatchObject({ options: { window: given } });
    }
  });

  test.each<[string, object, string]>([
    ['of no end', { window: {} }, 'window'],
    ['that ends before it begins', { window: { since: window.until, until: window.since } }, 'window'],
    ['without a zone', { window: { since: '2026-05-01T22:00:00' } }, 'window.since'],
    ['with a duration', { window: { since: 'P7D' } }, 'window.since'],
    ['for all of a backup', { window, recoveryType: 'full' }, 'window'],
    ['beside paths', { window, paths: ['/srv/data/a.log'] }, 'paths'],
    ['beside patterns', { window, excludes: ['*.gz'] }, 'excludes'],
    ['that is only tried', { window, dryRun: true }, 'dryRun'],
    ['to where files came from', { window, targetLocation: undefined, toOriginal: true }, 'toOriginal'],
    ['of files', { window, backupJobId: 'files' }, 'window'],
  ])('%s is refused', async (_what, more, field) => {
    const before = await api.database.client.recoveryJob.count();
    const answer = await recover('backupJobId' in more ? { ...more, backupJobId: filesJob } : more);
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'request_invalid', errors: [{ field }] });
    expect(await api.database.client.recoveryJob.count()).toBe(before);
  });
});
