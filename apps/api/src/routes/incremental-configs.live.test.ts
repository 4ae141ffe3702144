import { sourcePassword } from '@holdfast/database/backup-configs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { configBody, masterKey, startTestApi, type TestApi } from '../testing/test-api.ts';

const connection = { host: 'db.internal', user: 'replicator' };
const physical = { type: 'postgresql', method: 'physical', connection };
const logical = { type: 'postgresql', method: 'logical', connection };
const files = { type: 'file_system', paths: ['/srv/data/files'] };

let api: TestApi;
let entityId: string;
let baseId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('increments');
});
afterAll(() => api?.[Symbol.asyncDispose]());
beforeEach(async () => {
  baseId = await create({ name: 'base', backupType: 'database_full', source: physical, sourcePassword: 'replicates' });
});

const post = (more: object) => api.send('POST', '/configs', configBody(entityId, more));
const put = (id: string, changes: object) => api.send('PUT', `/configs/${id}`, changes);
const create = async (more: object): Promise<string> => {
  const answer = await post(more);
  expect(answer.statusCode, answer.body).toBe(201);
  return answer.json<{ id: string }>().id;
};
const onBase = (more: object = {}) => ({ type: 'postgresql_wal', method: 'wal', baseConfigId: baseId, ...more });
const incremental = (more: object = {}) => ({ name: 'wal', backupType: 'database_incremental', source: onBase(), ...more });
const elsewhere = { storageOptions: { type: 'local', path: '/srv/backups/elsewhere' } };

describe('a config that builds on physical backups', () => {
  test('is taken, read, listed by its type, changed and given jobs', async () => {
    const id = await create(incremental({ schedule: '*/5 * * * *' }));
    expect((await api.send('GET', `/configs/${id}`)).json()).toMatchObject({ backupType: 'database_incremental', source: onBase() });
    const listed = await api.send('GET', '/configs?type=database_incremental&limit=200');
    expect(listed.json<{ items: { id: string }[] }>().items.map((item) => item.id)).toContain(id);
    const changed = await put(id, { source: onBase({ slotName: 'kept_for_holdfast' }) });
    expect(changed.json(), changed.body).toMatchObject({ source: { slotName: 'kept_for_holdfast' } });
    const job = await api.send('POST', '/jobs', { backupConfigId: id });
    expect(job.json(), job.body).toMatchObject({ backupConfigId: id, backupType: 'database_incremental', status: 'queued' });
    expect((await api.send('GET', `/configs/${id}/recovery-window`)).json()).toMatchObject({ baseConfigId: baseId, windows: [] });
  });

  test('may take the blocks that changed', async () => {
    const id = await create(incremental({ source: onBase({ method: 'blocks' }) }));
    expect((await put(id, { retentionDays: 3 })).json()).toMatchObject({ source: { method: 'blocks' }, retentionDays: 3 });
  });

  test.each([
    ['a base that is not there', { source: { ...onBase(), baseConfigId: 'nothing' } }, 'source.baseConfigId'],
    ['a base that is no id', { source: { ...onBase(), baseConfigId: '../x' } }, 'source.baseConfigId'],
    ['no base', { source: { type: 'postgresql_wal', method: 'wal' } }, 'source.baseConfigId'],
    ['no method', { source: { type: 'postgresql_wal', baseConfigId: 'x' } }, 'source.method'],
    ['a full backup of WAL', { backupType: 'database_full' }, 'source.type'],
    ['files as an increment', { source: files }, 'source.type'],
  ])('%s is refused, and the field is named', async (_, more, field) => {
    const answer = await post(incremental(more));
    expect(answer.json(), answer.body).toMatchObject({ status: 400, code: 'request_invalid', errors: [{ field }] });
  });

  test('is refused with what does not go with its base', async () => {
    const refusals: [object, string, string][] = [
      [{ source: onBase({ slotName: 'Upper' }) }, 'source.slotName', 'lower-case'],
      [{ source: onBase({ method: 'blocks', slotName: 'kept' }) }, 'source.slotName', ''],
      [{ sourcePassword: 'another' }, 'sourcePassword', 'base config'],
      [elsewhere, 'source.baseConfigId', 'storageOptions'],
    ];
    for (const [more, field, message] of refusals) {
      const answer = await post(incremental(more));
      expect(answer.json(), answer.body).toMatchObject({ status: 400, code: 'request_invalid', errors: [{ field }] });
      expect(answer.body).toContain(message);
    }
    expect(await api.database.client.backupConfig.count({ where: { source: { path: ['baseConfigId'], equals: baseId } } })).toBe(0);
  });

  test('is refused a base of another kind, of another entity, deleted, or itself', async () => {
    const other = await api.addEntity('increments of others');
    const foreign = await api.send('POST', '/configs', configBody(other, { backupType: 'database_full', source: physical }));
    const deleted = await create({ backupType: 'database_full', source: physical });
    expect((await api.send('DELETE', `/configs/${deleted}`)).statusCode).toBe(204);
    const bases = [
      await create({ source: files }),
      await create({ backupType: 'database_full', source: logical }),
      await create(incremental()),
      foreign.json<{ id: string }>().id,
      deleted,
    ];
    for (const baseConfigId of bases) {
      const answer = await post(incremental({ source: onBase({ baseConfigId }) }));
      expect(answer.json(), answer.body).toMatchObject({ status: 400, errors: [{ field: 'source.baseConfigId' }] });
    }
    const lone = await create({ backupType: 'database_full', source: physical });
    const changes = { backupType: 'database_incremental', source: onBase({ baseConfigId: lone }), sourcePassword: null };
    expect((await put(lone, changes)).json()).toMatchObject({ status: 400, errors: [{ field: 'source.baseConfigId' }] });
    expect((await api.send('GET', `/configs/${lone}`)).json()).toMatchObject({ backupType: 'database_full' });
  });
});

describe('a config that others build on', () => {
  test('is not deleted before them', async () => {
    const id = await create(incremental());
    const refused = await api.send('DELETE', `/configs/${baseId}`);
    expect(refused.json(), refused.body).toMatchObject({
      status: 409,
      code: 'conflict',
      hint: expect.stringContaining('delete those first'),
    });
    expect(refused.body).toContain(id);
    expect((await api.send('GET', `/configs/${baseId}`)).json()).toMatchObject({ deletedAt: null, isActive: true });
    for (const each of [id, baseId]) expect((await api.send('DELETE', `/configs/${each}`)).statusCode).toBe(204);
  });

  test('stays what they build on, and changes in everything else', async () => {
    const id = await create(incremental());
    const losses: [object, string][] = [
      [{ source: logical }, 'source'],
      [{ backupType: 'file_system', source: files, sourcePassword: null }, 'source'],
      [elsewhere, 'storageOptions'],
      [{ ...elsewhere, encryptionEnabled: false }, 'storageOptions'],
    ];
    for (const [changes, field] of losses) {
      const answer = await put(baseId, changes);
      expect(answer.json(), answer.body).toMatchObject({ status: 409, code: 'conflict', errors: [{ field }] });
    }
    const source = { ...physical, maxRateKiB: 1024, connection: { ...connection, port: 5433 } };
    const changed = await put(baseId, { source, sourcePassword: 'of the moved server', isActive: false });
    expect(changed.statusCode, changed.body).toBe(200);
    const place = 'replicator@db.internal:5433';
    expect(await sourcePassword(api.database.client, baseId, place, parseMasterKey(masterKey))).toBe('of the moved server');
    expect((await api.send('DELETE', `/configs/${id}`)).statusCode).toBe(204);
    expect((await put(baseId, elsewhere)).statusCode).toBe(200);
  });

  test('is there or not, when it is deleted while one is made that builds on it', async () => {
    for (let round = 0; round < 8; round++) {
      const base = await create({ backupType: 'database_full', source: physical });
      const made = post(incremental({ source: onBase({ baseConfigId: base }) }));
      const [created, deleted] = await Promise.all([made, api.send('DELETE', `/configs/${base}`)]);
      expect([
        [201, 409],
        [400, 204],
      ]).toContainEqual([created.statusCode, deleted.statusCode]);
    }
  });
});
