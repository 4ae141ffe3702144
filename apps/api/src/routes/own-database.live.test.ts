import { afterAll, beforeAll, expect, test } from 'vitest';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let tenantId: string;
beforeAll(async () => {
  api = await startTestApi();
  tenantId = await api.addEntity('a tenant');
  await api.send('POST', '/entities/system');
});
afterAll(() => api[Symbol.asyncDispose]());

const ownDatabase = { backupType: 'application_data', source: { type: 'own_database' } };
const key = { encryptionKey: 'kept by somebody' };
const place = (name: string) => ({ storageOptions: { type: 'local', path: `/srv/backups/${name}` } });
const body = (entityId: string, more: object) => configBody(entityId, { encryptionKey: undefined, ...ownDatabase, ...more });

test('its config is one of the system, encrypted, with a password that somebody has', async () => {
  const made = await api.send('POST', '/configs', body('system', { ...key, ...place('own') }));
  expect(made.statusCode, made.body).toBe(201);
  expect(made.body).not.toContain(key.encryptionKey);
  const { id } = made.json<{ id: string }>();
  expect((await api.send('POST', '/jobs', { backupConfigId: id })).statusCode).toBe(202);

  const refused = [
    ['another entity', body(tenantId, { ...key, ...place('a') }), 'source.type'],
    ['no encryption', body('system', { ...place('b'), encryptionEnabled: false }), 'encryptionEnabled'],
    ['a password that nobody knows', body('system', place('c')), 'encryptionKey'],
    ['another backup type', body('system', { ...key, ...place('d'), backupType: 'file_system' }), 'source.type'],
    ['a field too many', body('system', { ...key, ...place('e'), source: { type: 'own_database', url: 'postgresql://x' } }), 'source'],
  ] as const;
  for (const [what, sent, field] of refused) {
    const answer = (await api.send('POST', '/configs', sent)).json<{ code: string; errors: { field: string }[] }>();
    expect(answer.code, what).toBe('request_invalid');
    expect(answer.errors[0]?.field, what).toContain(field);
  }

  const change = async (changes: object) => (await api.send('PUT', `/configs/${id}`, changes)).json<{ code?: string }>();
  expect(await change({ retentionDays: 9 })).toMatchObject({ retentionDays: 9 });
  expect(await change({ encryptionEnabled: false })).toMatchObject({ code: 'request_invalid' });
  expect(await change(place('elsewhere'))).toMatchObject({ code: 'request_invalid', errors: [{ field: 'encryptionKey' }] });
  expect(await change({ ...place('elsewhere'), ...key })).toMatchObject({ source: { type: 'own_database' } });
});

test('is not copied to a place that everybody reads', async () => {
  const { id } = (await api.send('POST', '/configs', body('system', { ...key, ...place('copied') }))).json<{ id: string }>();
  const { repositoryId } = (await api.send('GET', `/configs/${id}`)).json<{ repositoryId: string }>();
  const copy = { storageLocation: 'local', ...place('copies'), encryptionEnabled: false };
  const answer = await api.send('POST', `/repositories/${repositoryId}/copies`, copy);
  expect(answer.json()).toMatchObject({ code: 'request_invalid', errors: [{ field: 'encryptionEnabled' }] });
  expect((await api.send('POST', `/repositories/${repositoryId}/copies`, { ...copy, encryptionEnabled: true })).statusCode).toBe(202);
});

test('a config of a tenant cannot become one', async () => {
  const { id } = (await api.send('POST', '/configs', configBody(tenantId, place('files')))).json<{ id: string }>();
  const answer = await api.send('PUT', `/configs/${id}`, { ...ownDatabase, ...key });
  expect(answer.json()).toMatchObject({ code: 'request_invalid', errors: [{ field: 'source.type' }] });
});
