import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listSchedulers } from '@holdfast/jobs/schedulers';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let entityId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('configs');
});
afterAll(() => api[Symbol.asyncDispose]());

const place = (name: string) => ({ storageOptions: { type: 'local', path: `/srv/backups/${name}` } });
const post = (more: object = {}) => api.send('POST', '/configs', configBody(entityId, more));
const schedulerOf = async (id: string) => (await listSchedulers(api.queues)).find((scheduler) => scheduler.id === id);

const logs = (more: object) => ({ backupType: 'logs', source: { type: 'logs', globs: ['/srv/data/*.log*'], ...more } });

describe('a config', () => {
  test('is made with defaults, read, listed and changed', async () => {
    const created = await post();
    expect(created.statusCode, created.body).toBe(201);
    const config = created.json<{ id: string }>();
    expect(config).toMatchObject({
      ...configBody(entityId),
      schedule: null,
      timeZone: 'UTC',
      compressionEnabled: true,
      options: {},
      encryptionEnabled: true,
      isActive: true,
      deletedAt: null,
    });
    expect((await api.send('GET', `/configs/${config.id}`)).json()).toEqual(config);
    expect((await api.send('GET', `/configs?entityId=${entityId}`)).json()).toMatchObject({ items: [{ id: config.id }], nextCursor: null });

    const changed = await api.send('PUT', `/configs/${config.id}`, { retentionDays: 7, schedule: '0 3 * * *', timeZone: 'Europe/Berlin' });
    expect(changed.statusCode, changed.body).toBe(200);
    expect(changed.json()).toMatchObject({ id: config.id, name: 'nightly', retentionDays: 7, schedule: '0 3 * * *' });
    expect((await api.send('PUT', `/configs/${config.id}`, configBody(entityId))).json()).toMatchObject({
      retentionDays: 30,
      schedule: '0 3 * * *',
    });
  });

  test('keeps the options of its runs, which a change replaces whole', async () => {
    const options = {
      compression: 'max',
      concurrency: 2,
      uploadBytesPerSecond: 5_000_000,
      downloadBytesPerSecond: 50_000_000,
      lowPriority: true,
    };
    const created = await post({ options });
    expect(created.statusCode, created.body).toBe(201);
    const { id } = created.json<{ id: string }>();
    expect((await api.send('GET', `/configs/${id}`)).json()).toMatchObject({ options });
    expect((await api.send('PUT', `/configs/${id}`, { retentionDays: 3 })).json()).toMatchObject({ retentionDays: 3, options });
    const off = (await api.send('PUT', `/configs/${id}`, { compressionEnabled: false })).json<object>();
    expect(off).toMatchObject({ status: 400, code: 'request_invalid', errors: [{ field: 'options.compression' }] });
    const changed = await api.send('PUT', `/configs/${id}`, { compressionEnabled: false, options: { lowPriority: true } });
    expect(changed.json<{ options: object }>().options).toEqual({ lowPriority: true });
    expect((await api.send('PUT', `/configs/${id}`, { options: {} })).json<{ options: object }>().options).toEqual({});
  });

  test('with a schedule has its job scheduler, which follows every change', async () => {
    const { id } = (await post({ schedule: '*/5 * * * *', timeZone: 'Asia/Tokyo' })).json<{ id: string }>();
    expect(await schedulerOf(id)).toMatchObject({ pattern: '*/5 * * * *', timeZone: 'Asia/Tokyo', payload: { configId: id } });
    await api.send('PUT', `/configs/${id}`, { schedule: '30 4 * * 1' });
    expect(await schedulerOf(id)).toMatchObject({ pattern: '30 4 * * 1', timeZone: 'Asia/Tokyo' });
    await api.send('PUT', `/configs/${id}`, { isActive: false });
    expect(await schedulerOf(id)).toBeUndefined();
    await api.send('PUT', `/configs/${id}`, { isActive: true });
    expect(await schedulerOf(id)).toBeDefined();
    await api.send('PUT', `/configs/${id}`, { schedule: null });
    expect(await schedulerOf(id)).toBeUndefined();
    await api.send('PUT', `/configs/${id}`, { schedule: '30 4 * * 1' });
    expect((await api.send('DELETE', `/configs/${id}`)).statusCode).toBe(204);
    expect(await schedulerOf(id)).toBeUndefined();
  });

  test('that is deleted stays readable, is in no list, takes no job and is deleted once', async () => {
    const { id } = (await post()).json<{ id: string }>();
    const job = await api.send('POST', '/jobs', { backupConfigId: id, execute: false });
    const deleted = await api.send('DELETE', `/configs/${id}`);
    expect([deleted.statusCode, deleted.body]).toEqual([204, '']);
    expect((await api.send('GET', `/configs/${id}`)).json()).toMatchObject({ id, isActive: false, deletedAt: expect.any(String) });
    expect((await api.send('GET', '/configs?limit=200')).json<{ items: { id: string }[] }>().items.map((item) => item.id)).not.toContain(
      id,
    );
    expect((await api.send('POST', '/jobs', { backupConfigId: id })).json()).toMatchObject({ status: 409, code: 'config_inactive' });
    expect((await api.send('GET', `/jobs/${job.json<{ id: string }>().id}`)).statusCode).toBe(200);
    expect((await api.send('DELETE', `/configs/${id}`)).statusCode).toBe(404);
    expect((await api.send('PUT', `/configs/${id}`, { retentionDays: 3 })).statusCode).toBe(404);
  });

  test('that is not active takes no job', async () => {
    const { id } = (await post({ isActive: false })).json<{ id: string }>();
    expect((await api.send('POST', '/jobs', { backupConfigId: id })).json()).toMatchObject({ status: 409, code: 'config_inactive' });
    expect((await api.send('GET', '/configs?isActive=false')).json<{ items: { id: string }[] }>().items.map((item) => item.id)).toContain(
      id,
    );
  });

  test('shares the repository of its entity and place, and needs its key', async () => {
    const options = place('shared');
    const [first, second] = [await post({ ...options, encryptionKey: 'one key' }), await post(options)];
    expect(second.json<{ repositoryId: string }>().repositoryId).toBe(first.json<{ repositoryId: string }>().repositoryId);
    expect((await post({ ...options, encryptionKey: 'another key' })).json()).toMatchObject({ status: 409, code: 'conflict' });
  });
});

describe('the place of a repository', () => {
  test('cannot be that of another entity, above it or below it', async () => {
    const other = await api.addEntity('configs, other');
    expect((await post({ ...place('mine/deep'), encryptionEnabled: false })).statusCode).toBe(201);
    for (const path of ['mine/deep', 'mine/deep/', 'mine/./deep', 'mine', 'mine/deep/er']) {
      const answer = await api.send('POST', '/configs', configBody(other, { ...place(path), encryptionEnabled: false }));
      expect(answer.json(), path).toMatchObject({ status: 409, code: 'conflict', errors: [{ field: 'storageOptions' }] });
    }
    expect((await api.send('POST', '/configs', configBody(other, place('mine/deeper')))).statusCode).toBe(201);
  });

  test('holds one encryption choice', async () => {
    expect((await post({ ...place('choice'), encryptionEnabled: true })).statusCode).toBe(201);
    expect((await post({ ...place('choice'), encryptionEnabled: false })).statusCode).toBe(409);
  });

  test('is given once when two entities ask at the same time', async () => {
    const entities = await Promise.all([1, 2, 3, 4].map((number) => api.addEntity(`race ${number}`)));
    const answers = await Promise.all(entities.map((id) => api.send('POST', '/configs', configBody(id, place('raced')))));
    expect(answers.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b)).toEqual([201, 409, 409, 409]);
  });
});

describe('bad input', () => {
  const source = { type: 'file_system', paths: ['/srv/data'] };
  test.each<[string, object, number, string, string]>([
    ['an unknown field', { colour: 'red' }, 400, 'request_invalid', 'colour'],
    ['an unknown field in the source', { source: { ...source, colour: 1 } }, 400, 'request_invalid', 'source.colour'],
    [
      'an unknown field in the storage options',
      { storageOptions: { type: 'local', path: '/srv/backups/x', secret: 1 } },
      400,
      'request_invalid',
      'storageOptions.secret',
    ],
    ['a field of a wrong type', { retentionDays: '30' }, 400, 'request_invalid', 'retentionDays'],
    ['a fraction of a day', { retentionDays: 1.5 }, 400, 'request_invalid', 'retentionDays'],
    ['no retention', { retentionDays: 0 }, 400, 'request_invalid', 'retentionDays'],
    ['too long a retention', { retentionDays: 36_501 }, 400, 'request_invalid', 'retentionDays'],
    ['a blank name', { name: '  ' }, 400, 'request_invalid', 'name'],
    ['too long a name', { name: 'x'.repeat(201) }, 400, 'request_invalid', 'name'],
    ['a NUL in the name', { name: 'a\0b' }, 400, 'request_invalid', 'name'],
    ['half a surrogate pair', { name: '\ud800' }, 400, 'request_invalid', 'name'],
    ['an unknown backup type', { backupType: 'everything' }, 400, 'request_invalid', 'backupType'],
    ['a backup type of another source', { backupType: 'logs' }, 400, 'request_invalid', 'source.type'],
    [
      'a storage without its region',
      { storageLocation: 's3', storageOptions: { type: 's3', bucket: 'bucket' } },
      400,
      'request_invalid',
      'storageOptions.region',
    ],
    ['a source of an unknown type', { source: { type: 'tape' } }, 400, 'request_invalid', 'source.type'],
    ['no paths', { source: { type: 'file_system', paths: [] } }, 400, 'request_invalid', 'source.paths'],
    [
      'too many paths',
      { source: { type: 'file_system', paths: Array.from({ length: 65 }, () => '/srv/data') } },
      400,
      'request_invalid',
      'source.paths',
    ],
    ['a glob outside the roots', logs({ globs: ['/srv/data/*.log', '/etc/*'] }), 422, 'path_outside_roots', 'source.globs.1'],
    ['a glob that climbs out', logs({ globs: ['/srv/data/../../etc/*'] }), 400, 'request_invalid', 'source.globs.0'],
    ['a window that is none', logs({ since: 'P1M' }), 400, 'request_invalid', 'source.since'],
    ['a removal of logs where none is allowed', logs({ removeAfterDays: 3 }), 422, 'path_outside_roots', 'source.removeAfterDays'],
    ['a password for files', { ...logs({}), sourcePassword: 'secret' }, 400, 'request_invalid', 'sourcePassword'],
    ['a relative path', { source: { type: 'file_system', paths: ['srv/data'] } }, 400, 'request_invalid', 'source.paths.0'],
    ['a NUL in a path', { source: { type: 'file_system', paths: ['/srv/data\0/etc'] } }, 400, 'request_invalid', 'source.paths.0'],
    [
      'a path outside the roots',
      { source: { type: 'file_system', paths: ['/srv/data', '/etc'] } },
      422,
      'path_outside_roots',
      'source.paths.1',
    ],
    [
      'a path that climbs out',
      { source: { type: 'file_system', paths: ['/srv/data/../../etc'] } },
      422,
      'path_outside_roots',
      'source.paths.0',
    ],
    [
      'a path that only begins like a root',
      { source: { type: 'file_system', paths: ['/srv/database'] } },
      422,
      'path_outside_roots',
      'source.paths.0',
    ],
    [
      'a storage outside the roots',
      { storageOptions: { type: 'local', path: '/srv/data' } },
      422,
      'path_outside_roots',
      'storageOptions.path',
    ],
    ['a bad cron expression', { schedule: 'every day' }, 400, 'schedule_invalid', 'schedule'],
    ['a cron expression with a bad minute', { schedule: '61 * * * *' }, 400, 'schedule_invalid', 'schedule'],
    ['a schedule that never comes', { schedule: '0 0 30 2 *' }, 400, 'schedule_invalid', 'schedule'],
    ['an unknown time zone', { timeZone: 'Mars/Olympus' }, 400, 'schedule_invalid', 'timeZone'],
    ['an unknown option', { options: { colour: 'red' } }, 400, 'request_invalid', 'options.colour'],
    ['an unknown compression', { options: { compression: 'lzma' } }, 400, 'request_invalid', 'options.compression'],
    ['too many threads', { options: { concurrency: 65 } }, 400, 'request_invalid', 'options.concurrency'],
    ['no bandwidth', { options: { uploadBytesPerSecond: 0 } }, 400, 'request_invalid', 'options.uploadBytesPerSecond'],
    ['options that are null', { options: null }, 400, 'request_invalid', 'options'],
    [
      'a mode with compression off',
      { compressionEnabled: false, options: { compression: 'auto' } },
      400,
      'request_invalid',
      'options.compression',
    ],
    ['a key with encryption off', { encryptionEnabled: false, encryptionKey: 'k' }, 400, 'request_invalid', 'encryptionKey'],
    ['a key that is too long', { encryptionKey: 'k'.repeat(1025) }, 400, 'request_invalid', 'encryptionKey'],
    ['a key with a line break', { encryptionKey: 'a\nb' }, 400, 'request_invalid', 'encryptionKey'],
    ['an id that is none', { businessEntityId: "x'; --" }, 400, 'request_invalid', 'businessEntityId'],
  ])('%s', async (_name, more, status, code, field) => {
    const answer = await post(more);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.json()).toMatchObject({ status, code, errors: expect.arrayContaining([expect.objectContaining({ field })]) });
    expect(answer.statusCode).toBe(status);
  });

  test('a missing field is named', async () => {
    const answer = await api.send('POST', '/configs', {});
    const fields = answer.json<{ errors: { field: string; message: string }[] }>().errors;
    expect(fields.map(({ field }) => field)).toEqual(
      expect.arrayContaining(['businessEntityId', 'name', 'backupType', 'source', 'retentionDays', 'storageLocation', 'storageOptions']),
    );
  });

  test('an unknown entity', async () => {
    expect((await api.send('POST', '/configs', configBody('cnothere'))).json()).toMatchObject({ status: 404, code: 'not_found' });
  });

  test('a body that is no JSON, none at all, of another kind, or poisoned', async () => {
    const raw = (payload: string, type = 'application/json') =>
      api.server.inject({
        method: 'POST',
        url: '/api/backup/configs',
        headers: { authorization: `Bearer ${api.token('admin')}`, 'content-type': type },
        payload,
      });
    for (const payload of ['{"name":', '{"__proto__":{"admin":true}}', '[]', '"text"', '', 'null']) {
      expect((await raw(payload)).json(), payload).toMatchObject({ status: 400, code: 'request_invalid' });
    }
    expect((await raw('name=x', 'application/x-www-form-urlencoded')).json()).toMatchObject({ status: 400, code: 'request_invalid' });
  });

  test('a body over the limit', async () => {
    const answer = await post({ name: 'x'.repeat(1024 * 1024) });
    expect(answer.json()).toMatchObject({ status: 413, code: 'request_too_large' });
  });

  test('a change is checked like a new config, and cannot move to another entity', async () => {
    const { id } = (await post(place('change'))).json<{ id: string }>();
    const put = async (body: object) => (await api.send('PUT', `/configs/${id}`, body)).json<{ status: number; code: string }>();
    expect(await put({ colour: 1 })).toMatchObject({ status: 400, code: 'request_invalid' });
    expect(await put({ source: { type: 'file_system', paths: ['/etc'] } })).toMatchObject({ status: 422, code: 'path_outside_roots' });
    expect(await put({ schedule: 'x' })).toMatchObject({ status: 400, code: 'schedule_invalid' });
    expect(await put({ backupType: 'logs' })).toMatchObject({ status: 400, errors: [{ field: 'source.type' }] });
    expect(await put({ businessEntityId: 'cother' })).toMatchObject({ status: 400, errors: [{ field: 'businessEntityId' }] });
    expect(await put({ encryptionEnabled: false })).toMatchObject({ status: 409, code: 'conflict' });
    expect((await api.send('GET', `/configs/${id}`)).json()).toMatchObject({
      schedule: null,
      backupType: 'file_system',
      encryptionEnabled: true,
    });
  });
});
