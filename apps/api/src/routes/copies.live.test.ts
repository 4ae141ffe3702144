import { recordRepositoryState, repositoryPassword, storageCredentials } from '@holdfast/database/repositories';
import { listSchedulers } from '@holdfast/jobs/schedulers';
import { credentialsPlace, parseStorageOptions } from '@holdfast/storage/storage-options';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configBody, copyBody, startTestApi, type TestApi } from '../testing/test-api.ts';

const secret = 'a password, of the second place';
const sftp = {
  storageLocation: 'sftp',
  storageOptions: {
    type: 'sftp',
    host: 'sftp.internal',
    user: 'backup',
    path: '/backups/second',
    hostKey: `SHA256:${'A'.repeat(43)}`,
  },
  storageCredentials: { password: secret },
};

interface Row {
  readonly id: string;
  readonly status: string;
  readonly repositoryId: string;
  readonly targetRepositoryId: string;
  readonly copyConfigId: string | null;
}

let api: TestApi;
let entityId: string;
let sourceId: string;
let otherId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('copied');
  sourceId = (await api.send('POST', '/configs', configBody(entityId))).json<Row>().repositoryId;
  otherId = (await api.send('POST', '/configs', configBody(await api.addEntity('another')))).json<Row>().repositoryId;
});
afterAll(() => api[Symbol.asyncDispose]());

const copy = (body: object, headers: Record<string, string> = {}) =>
  api.send('POST', `/repositories/${sourceId}/copies`, body, { headers });
const schedulers = async () => new Map((await listSchedulers(api.queues)).map(({ id, payload, pattern }) => [id, { payload, pattern }]));

describe('a copy job', () => {
  test('to a place where nothing is makes its repository, with a password of its own and credentials sealed for it', async () => {
    const answer = await copy(sftp);
    expect(answer.statusCode, answer.body).toBe(202);
    const row = answer.json<Row>();
    expect(row).toMatchObject({ status: 'queued', sourceRepositoryId: sourceId, copyConfigId: null, trigger: 'request' });
    expect(row).toMatchObject({ options: { verify: true, snapshots: {} } });
    expect((await api.queues.liveRuns('copy', [row.id])).has(row.id)).toBe(true);
    const { client } = api.database;
    const { masterKey } = api.config;
    const place = credentialsPlace(parseStorageOptions(sftp.storageOptions)) ?? '';
    expect(JSON.parse((await storageCredentials(client, row.targetRepositoryId, place, masterKey)) ?? '')).toEqual({ password: secret });
    const passwords = await Promise.all([sourceId, row.targetRepositoryId].map((id) => repositoryPassword(client, id, masterKey)));
    expect(new Set(passwords).size).toBe(2);
    const shown = await Promise.all(
      [`/copies/${row.id}`, '/copies', `/repositories/${sourceId}/copies`, `/repositories/${row.targetRepositoryId}`, '/copy-configs'].map(
        async (path) => (await api.send('GET', path)).body,
      ),
    );
    expect(shown.slice(0, 3).every((body) => body.includes(row.id))).toBe(true);
    const everything = [...shown, answer.body, ...api.logLines, JSON.stringify(await api.queues.byName.copy.getJobs())].join('\n');
    expect(everything).not.toContain(secret);
    expect(everything).not.toMatch(/sealed|storageCredentials/u);

    // The same place is the same repository, by its name as well.
    expect((await copy(sftp)).json<Row>().targetRepositoryId).toBe(row.targetRepositoryId);
    const named = await copy({ targetRepositoryId: row.targetRepositoryId, options: { verify: false, snapshots: { newerThanDays: 3 } } });
    expect(named.json()).toMatchObject({ targetRepositoryId: row.targetRepositoryId, options: { verify: false } });
  });

  test('is the same one for the same Idempotency-Key, whose hash knows no secret', async () => {
    const headers = { 'idempotency-key': 'copied once' };
    const [first, second] = [await copy(sftp, headers), await copy(sftp, headers)];
    expect(second.json<Row>().id).toBe(first.json<Row>().id);
    const rotated = await copy({ ...sftp, storageCredentials: { password: 'another' } }, headers);
    expect(rotated.json<Row>().id).toBe(first.json<Row>().id);
    expect((await copy({ ...sftp, schedule: '0 4 * * *' }, headers)).json()).toMatchObject({ code: 'idempotency_key_reused' });
  });

  test('waits, is executed and is cancelled', async () => {
    const made = await copy(copyBody('waiting', { execute: false }));
    expect(made.statusCode).toBe(201);
    const { id } = made.json<Row>();
    expect((await api.send('POST', `/copies/${id}/execute`)).json()).toMatchObject({ id, status: 'queued' });
    expect((await api.send('POST', `/copies/${id}/cancel`)).json()).toMatchObject({ id, status: 'cancelled' });
    expect((await api.send('POST', `/copies/${id}/execute`)).json()).toMatchObject({ code: 'run_already_finished' });
    const { targetRepositoryId } = made.json<Row>();
    const listed = await api.send('GET', `/copies?targetRepositoryId=${targetRepositoryId}&status=cancelled`);
    expect(listed.json<{ items: Row[] }>().items.map((row) => row.id)).toEqual([id]);
  });
});

describe('a target', () => {
  const local = (path: string) => ({ storageLocation: 'local', storageOptions: { type: 'local', path } });
  test.each<[string, () => object, number, string, string]>([
    ['none', () => ({}), 400, 'request_invalid', 'storageOptions'],
    ['the source by its id', () => ({ targetRepositoryId: sourceId }), 400, 'request_invalid', 'targetRepositoryId'],
    ['the source by its place', () => local(`/srv/backups/${entityId}`), 400, 'request_invalid', 'storageOptions'],
    ['below the source', () => local(`/srv/backups/${entityId}/x`), 409, 'conflict', 'storageOptions'],
    ["another entity's by its id", () => ({ targetRepositoryId: otherId }), 400, 'request_invalid', 'targetRepositoryId'],
    ['nothing by its id', () => ({ targetRepositoryId: 'cnothere' }), 400, 'request_invalid', 'targetRepositoryId'],
    ['both', () => ({ ...local('/srv/backups/b'), targetRepositoryId: 'x' }), 400, 'request_invalid', 'storageLocation'],
    ['outside the roots', () => local('/etc'), 422, 'path_outside_roots', 'storageOptions.path'],
    [
      'not an allowed server',
      () => ({ ...sftp, storageOptions: { ...sftp.storageOptions, host: '169.254.169.254' } }),
      422,
      'storage_host_not_allowed',
      'storageOptions',
    ],
    [
      'a server without credentials',
      () => ({ ...sftp, storageOptions: { ...sftp.storageOptions, path: '/new' }, storageCredentials: undefined }),
      400,
      'credentials_missing',
      'storageCredentials',
    ],
    [
      'of another kind than it says',
      () => ({ ...local('/srv/backups/c'), storageLocation: 's3' }),
      400,
      'request_invalid',
      'storageOptions',
    ],
    [
      'with a key and no encryption',
      () => ({ ...local('/srv/backups/d'), encryptionEnabled: false, encryptionKey: 'k' }),
      400,
      'request_invalid',
      'encryptionKey',
    ],
  ])('that is %s is refused, and the field is named', async (_, body, status, code, field) => {
    const before = await api.database.client.repository.findMany();
    const answer = await copy(body());
    expect(answer.json(), answer.body).toMatchObject({ status, code });
    expect(answer.json<{ errors?: { field: string }[] }>().errors?.[0]?.field).toContain(field);
    expect(await api.database.client.repository.findMany()).toEqual(before);
  });

  test("another entity's by its place is refused", async () => {
    const { storageOptions } = await api.database.client.repository.findUniqueOrThrow({ where: { id: otherId } });
    const answer = await copy({ storageLocation: 'local', storageOptions });
    expect(answer.json()).toMatchObject({ code: 'conflict', errors: [{ field: 'storageOptions' }] });
  });

  test('that is damaged, or has another key, is refused', async () => {
    const body = copyBody('damaged', { encryptionKey: 'known' });
    const { targetRepositoryId } = (await copy(body)).json<Row>();
    const otherKey = await copy({ ...body, encryptionKey: 'guessed' });
    expect(otherKey.json()).toMatchObject({ code: 'conflict', errors: [{ field: 'encryptionKey' }] });
    await recordRepositoryState(api.database.client, targetRepositoryId, { state: 'damaged' });
    expect((await copy({ targetRepositoryId })).json()).toMatchObject({ code: 'conflict', errors: [{ field: 'targetRepositoryId' }] });
    expect((await copy(body)).json()).toMatchObject({ code: 'conflict', errors: [{ field: 'storageOptions' }] });
  });
});

describe('a copy config', () => {
  test('comes with a schedule, is changed, run at once, turned off and deleted', async () => {
    const body = copyBody('scheduled', { schedule: '0 4 * * *', timeZone: 'Europe/Berlin', options: { snapshots: { newerThanDays: 30 } } });
    const answer = await copy(body);
    expect(answer.statusCode, answer.body).toBe(202);
    const { copyConfigId } = answer.json<Row>();
    const id = copyConfigId ?? '';
    expect((await schedulers()).get(id)).toEqual({ payload: { copyConfigId: id }, pattern: '0 4 * * *' });
    expect((await api.send('GET', `/copy-configs/${id}`)).json()).toMatchObject({
      id,
      sourceRepositoryId: sourceId,
      schedule: '0 4 * * *',
      timeZone: 'Europe/Berlin',
      isActive: true,
      options: { verify: true, snapshots: { newerThanDays: 30 } },
    });
    const changed = await api.send('PUT', `/copy-configs/${id}`, { schedule: '0 5 * * *', options: { verify: false } });
    expect(changed.json()).toMatchObject({ schedule: '0 5 * * *', timeZone: 'Europe/Berlin', options: { verify: false, snapshots: {} } });
    expect((await schedulers()).get(id)?.pattern).toBe('0 5 * * *');
    const now = await api.send('POST', `/copy-configs/${id}/copies`);
    expect(now.json()).toMatchObject({ status: 'queued', copyConfigId: id, trigger: 'request', options: { verify: false } });

    await api.send('PUT', `/copy-configs/${id}`, { isActive: false });
    expect((await schedulers()).has(id)).toBe(false);
    expect((await api.send('POST', `/copy-configs/${id}/copies`)).json()).toMatchObject({ code: 'config_inactive' });
    await api.send('PUT', `/copy-configs/${id}`, { isActive: true });
    expect((await schedulers()).has(id)).toBe(true);
    expect((await api.send('DELETE', `/copy-configs/${id}`)).statusCode).toBe(204);
    expect((await schedulers()).has(id)).toBe(false);
    expect((await api.send('DELETE', `/copy-configs/${id}`)).statusCode).toBe(404);
    expect((await api.send('PUT', `/copy-configs/${id}`, { isActive: true })).statusCode).toBe(404);
    expect((await api.send('GET', `/copy-configs?sourceRepositoryId=${sourceId}`)).body).not.toContain(id);
    expect((await api.send('GET', `/copy-configs/${id}`)).json<{ deletedAt: string | null }>().deletedAt).not.toBeNull();
    const events = await api.database.client.event.findMany({ where: { subjectId: id }, orderBy: { sequence: 'asc' } });
    expect(events.map(({ type }) => type)).toEqual(
      ['created', 'updated', 'updated', 'updated', 'deleted'].map((did) => `copy_config.${did}`),
    );
  });

  test.each([
    ['no cron expression', { schedule: 'now and then' }, 'schedule_invalid'],
    ['no time zone', { schedule: '0 4 * * *', timeZone: 'Mars/Base' }, 'schedule_invalid'],
    ['snapshots by id', { schedule: '0 4 * * *', options: { snapshots: { ids: ['a'.repeat(64)] } } }, 'request_invalid'],
    ['an unknown option', { options: { fast: true } }, 'request_invalid'],
    ['an unknown choice', { options: { snapshots: { best: true } } }, 'request_invalid'],
    ['a time that is none', { options: { snapshots: { since: 'yesterday' } } }, 'request_invalid'],
    ['an id that is none', { options: { snapshots: { ids: ['latest'] } } }, 'request_invalid'],
    ['no days', { options: { snapshots: { newerThanDays: 0 } } }, 'request_invalid'],
  ])('with %s is refused', async (_, more, code) => {
    expect((await copy(copyBody('refused', more))).json()).toMatchObject({ code });
  });
});
