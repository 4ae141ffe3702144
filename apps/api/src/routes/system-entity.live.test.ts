import { afterAll, beforeAll, expect, test } from 'vitest';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let tenantId: string;
beforeAll(async () => {
  api = await startTestApi();
  tenantId = await api.addEntity('a tenant');
});
afterAll(() => api[Symbol.asyncDispose]());

const ids = (body: string): string[] => (JSON.parse(body) as { items: { id: string }[] }).items.map(({ id }) => id);

test('the entity of the service is made on demand, once, and is there for admins of all entities only', async () => {
  expect((await api.send('GET', '/entities/system')).statusCode).toBe(404);
  const made = await api.send('POST', '/entities/system');
  expect(made.statusCode, made.body).toBe(200);
  expect(made.json()).toMatchObject({ id: 'system', name: 'system' });
  expect((await api.send('POST', '/entities/system')).json()).toEqual(made.json());
  const config = (await api.send('POST', '/configs', configBody('system'))).json<{ id: string }>();

  expect(ids((await api.send('GET', '/entities')).body)).toEqual(expect.arrayContaining([tenantId, 'system']));
  expect(ids((await api.send('GET', '/configs')).body)).toEqual([config.id]);
  const others = [api.token('viewer'), api.token('operator'), api.token('admin', ['system']), api.token('admin', ['system', tenantId])];
  for (const token of others) {
    for (const path of ['/entities', '/configs', '/repositories', '/jobs', '/dr-plans']) {
      const answer = await api.send('GET', path, undefined, { token });
      expect(answer.statusCode).toBe(200);
      expect(answer.body).not.toContain('system');
    }
    for (const path of ['/entities/system', `/configs/${config.id}`, '/events?entityId=system']) {
      expect((await api.send('GET', path, undefined, { token })).json(), path).toMatchObject({ status: 404, code: 'not_found' });
    }
    const metrics = (await api.send('GET', '/metrics/backup', undefined, { token })).json();
    expect(metrics).toMatchObject({ lastSuccess: [] });
    const denied = await api.send('POST', '/entities/system', undefined, { token });
    expect(denied.json()).toMatchObject({ status: 403, code: 'role_insufficient' });
  }
  const operator = api.token('operator');
  for (const [path, body] of [
    ['/configs', configBody('system')],
    ['/jobs', { backupConfigId: config.id }],
    ['/dr-plans', { businessEntityId: 'system', name: 'x', priority: 1, rto: 1, rpo: 1 }],
    ['/maintenance/cleanup', { businessEntityId: 'system' }],
  ] as const) {
    expect((await api.send('POST', path, body, { token: operator })).json(), path).toMatchObject({ status: 404, code: 'not_found' });
  }
  // Who may touch all tenants still does.
  expect(ids((await api.send('GET', '/entities', undefined, { token: operator })).body)).toEqual([tenantId]);
});

test('a tenant that has its name keeps it', async () => {
  await using other = await startTestApi();
  await other.addEntity('system');
  expect((await other.send('POST', '/entities/system')).json()).toMatchObject({ id: 'system', name: 'system (Holdfast itself)' });
  await other.addEntity('third');
});
