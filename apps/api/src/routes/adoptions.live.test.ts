import { repositoryPassword } from '@holdfast/database/repositories';
import { insertAdoptedBackups, findOrCreateAdoptedConfig } from '@holdfast/database/adopted-backups';
import { inTransaction } from '@holdfast/database/in-transaction';
import { findRepository } from '@holdfast/database/repositories';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configBody, endRun, startTestApi, type TestApi } from '../testing/test-api.ts';

const password = 'a password, of the adoption tests';
const remote = { type: 'sftp', host: 'sftp.internal', user: 'backup', path: '/repositories/b', hostKey: `SHA256:${'A'.repeat(43)}` };

interface Accepted {
  readonly repository: { readonly id: string };
  readonly adoption: { readonly id: string; readonly status: string };
}

let api: TestApi;
let entityId: string;
let otherId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('adopting');
  otherId = await api.addEntity('another');
});
afterAll(() => api[Symbol.asyncDispose]());

const body = (name: string, more: object = {}) => ({
  businessEntityId: entityId,
  storageLocation: 'local',
  storageOptions: { type: 'local', path: `/srv/backups/adopted/${name}` },
  password,
  ...more,
});
const post = (sent: object, options = {}) => api.send('POST', '/repositories/adopt', sent, options);
const known = (id: string) => repositoryPassword(api.database.client, id, api.config.masterKey);
const failed = (id: string, code = 'repository_password_wrong') =>
  endRun(api.database, 'adopt', id, { status: 'failed', error: { code, message: 'as it was found' } });

describe('adopting a repository', () => {
  test('is accepted with its row and its run, which is owed, and shows no secret', async () => {
    const answer = await post(body('first'));
    expect(answer.statusCode, answer.body).toBe(202);
    const { repository, adoption } = answer.json<Accepted>();
    expect(repository).toMatchObject({ businessEntityId: entityId, state: 'new', encryptionEnabled: true, resticId: null });
    expect(adoption).toMatchObject({ status: 'queued', repositoryId: repository.id, details: null });
    expect(await known(repository.id)).toBe(password);
    expect(await api.queues.liveRuns('adopt', [adoption.id])).toEqual(new Set([adoption.id]));
    for (const path of [`/adoptions/${adoption.id}`, '/adoptions', `/repositories/${repository.id}`]) {
      expect((await api.send('GET', path)).body).not.toContain(password);
    }
    expect(api.logLines.join('')).not.toContain(password);
    const events = await api.database.client.event.findMany({ where: { subjectId: adoption.id } });
    expect(events).toMatchObject([{ type: 'adopt.queued', subjectKind: 'adopt', data: { repositoryId: repository.id } }]);
  });

  test('with the same key is done once', async () => {
    const headers = { 'idempotency-key': 'adopt me' };
    const [first, second] = [await post(body('keyed'), { headers }), await post(body('keyed'), { headers })];
    expect(second.json<Accepted>().adoption.id).toBe(first.json<Accepted>().adoption.id);
  });

  test('again is another look at the same repository; with another password a conflict once it was opened', async () => {
    const first = (await post(body('again'))).json<Accepted>();
    await api.database.client.repository.update({
      where: { id: first.repository.id },
      data: { resticId: 'ab'.repeat(32), state: 'ready' },
    });
    const second = (await post(body('again'))).json<Accepted>();
    expect(second.repository.id).toBe(first.repository.id);
    expect(second.adoption.id).not.toBe(first.adoption.id);
    const third = (await api.send('POST', `/repositories/${first.repository.id}/adopt`)).json<Accepted>();
    expect(third.repository.id).toBe(first.repository.id);
    expect((await post(body('again', { password: 'another' }))).json()).toMatchObject({ status: 409, code: 'conflict' });
    expect(await known(first.repository.id)).toBe(password);
  });

  test('takes another guess at the password while nobody has opened it, with and without encryption', async () => {
    const guess = (await post(body('guessed', { password: 'wrong' }))).json<Accepted>();
    await failed(guess.adoption.id);
    const open = (await post(body('guessed', { password: '' }))).json<Accepted>();
    expect(open.repository).toMatchObject({ id: guess.repository.id, encryptionEnabled: false });
    expect(await known(guess.repository.id)).toBe('');
    await post(body('guessed'));
    expect(await known(guess.repository.id)).toBe(password);
  });

  test('keeps the password that a config has given', async () => {
    const storageOptions = { type: 'local', path: '/srv/backups/of-a-config' };
    const config = await api.send('POST', '/configs', configBody(entityId, { storageOptions, encryptionKey: 'of the config' }));
    expect(config.statusCode, config.body).toBe(201);
    expect((await post(body('', { storageOptions }))).json()).toMatchObject({ code: 'conflict' });
  });

  test("at, above or below another entity's is a conflict that does not say whose", async () => {
    await post(body('theirs', { businessEntityId: otherId }));
    for (const name of ['theirs', 'theirs/below', '']) {
      const answer = await post(body(name));
      expect(answer.json(), name).toMatchObject({ status: 409, code: 'conflict', errors: [{ field: 'storageOptions' }] });
      expect(answer.body).not.toContain(otherId);
    }
  });

  test.each([
    [{ storageOptions: { type: 'local', path: '/etc' } }, 422, 'path_outside_roots'],
    [{ storageLocation: 'sftp' }, 400, 'request_invalid'],
    [{ storageLocation: 'sftp', storageOptions: { ...remote, host: 'elsewhere.example' } }, 422, 'storage_host_not_allowed'],
    [{ storageLocation: 'sftp', storageOptions: remote }, 400, 'credentials_missing'],
    [{ storageLocation: 'sftp', storageOptions: remote, storageCredentials: { secret: 'x' } }, 400, 'request_invalid'],
    [{ password: undefined }, 400, 'request_invalid'],
    [{ password: 'two\nlines' }, 400, 'request_invalid'],
    [{ password: ['x'] }, 400, 'request_invalid'],
    [{ businessEntityId: 'nobody' }, 404, 'not_found'],
  ])('%j is refused with %i %s', async (more, status, code) => {
    const before = await api.database.client.repository.count();
    const answer = await post(body('refused', more));
    expect(answer.json(), answer.body).toMatchObject({ code });
    expect(answer.statusCode).toBe(status);
    expect(await api.database.client.repository.count()).toBe(before);
  });

  test('is for operators of the entity', async () => {
    expect((await post(body('x'), { token: api.token('viewer') })).statusCode).toBe(403);
    expect((await post(body('x'), { token: api.token('operator', [otherId]) })).json()).toMatchObject({ status: 404, code: 'not_found' });
  });

  test('is cancelled while it waits', async () => {
    const { adoption } = (await post(body('cancelled'))).json<Accepted>();
    const answer = await api.send('POST', `/adoptions/${adoption.id}/cancel`, {});
    expect(answer.json()).toMatchObject({ status: 'cancelled' });
    expect((await api.send('POST', `/adoptions/${adoption.id}/cancel`, {})).statusCode).toBe(200);
    expect((await api.send('GET', `/adoptions?status=cancelled`)).json()).toMatchObject({ items: [{ id: adoption.id }] });
  });
});

describe('an adopted repository', () => {
  let repositoryId: string;
  let configId: string;
  beforeAll(async () => {
    const { repository, adoption } = (await post(body('full'))).json<Accepted>();
    repositoryId = repository.id;
    const source = { type: 'file_system', paths: ['/home/ann', '/etc'] };
    const row = await findRepository(api.database.client, '*', repositoryId);
    const config = await inTransaction(api.database, (tx) =>
      findOrCreateAdoptedConfig(tx, row, { adoptionKey: 'k', name: 'adopted: ann', backupType: 'file_system', source }),
    );
    configId = config.id;
    const backups = [1, 2, 3].map((nth) => ({
      backupConfigId: configId,
      backupType: 'file_system' as const,
      snapshotId: `${nth}`.repeat(64),
      filePath: `/srv/backups/adopted/full/snapshots/${`${nth}`.repeat(64)}`,
      fileSize: nth === 1 ? null : 1000n,
      checksum: 'c'.repeat(64),
      // Before 1970 there is nothing: the page's cursor has no sign.
      startTime: new Date(nth * 1000),
      endTime: new Date(nth * 1000 + 500),
      metadata: {
        hostname: 'ann',
        snapshot: { username: 'ann', paths: source.paths, pathCount: 2, tags: ['x'], original: null, programVersion: 'restic 0.18.0' },
      },
    }));
    const adoptionRow = { id: adoption.id, repositoryId, businessEntityId: entityId };
    expect(await inTransaction(api.database, (tx) => insertAdoptedBackups(tx, adoptionRow, backups))).toBe(3);
    expect(await inTransaction(api.database, (tx) => insertAdoptedBackups(tx, adoptionRow, backups))).toBe(0);
  });

  test('lists its snapshots, newest first, in pages', async () => {
    const page = (await api.send('GET', `/repositories/${repositoryId}/snapshots?limit=2`)).json<{
      items: unknown[];
      nextCursor: string;
    }>();
    expect(page.items).toMatchObject([
      {
        snapshotId: '3'.repeat(64),
        adopted: true,
        time: '1970-01-01T00:00:03.000Z',
        hostname: 'ann',
        username: 'ann',
        paths: ['/home/ann', '/etc'],
        tags: ['x'],
        sizeBytes: 1000,
        programVersion: 'restic 0.18.0',
      },
      { snapshotId: '2'.repeat(64) },
    ]);
    const rest = await api.send('GET', `/repositories/${repositoryId}/snapshots?limit=2&cursor=${page.nextCursor}`);
    expect(rest.json()).toMatchObject({ items: [{ snapshotId: '1'.repeat(64), sizeBytes: null }], nextCursor: null });
    expect((await api.send('GET', `/repositories/${repositoryId}`)).json()).toMatchObject({ snapshotCount: 3 });
    expect((await api.send('GET', `/jobs?backupConfigId=${configId}`)).json()).toMatchObject({ items: [{ status: 'completed' }, {}, {}] });
  });

  test('shows those that are gone when asked', async () => {
    const where = { repositoryId, snapshotId: '1'.repeat(64) };
    await api.database.client.backupJob.updateMany({ where, data: { snapshotId: null, expiredAt: new Date() } });
    expect((await api.send('GET', `/repositories/${repositoryId}/snapshots`)).json<{ items: unknown[] }>().items).toHaveLength(2);
    const all = (await api.send('GET', `/repositories/${repositoryId}/snapshots?expired=true`)).json<{ items: unknown[] }>();
    expect(all.items).toHaveLength(3);
    expect(all.items[2]).toMatchObject({ snapshotId: null, expiredAt: expect.any(String) });
  });

  test('has configs that keep everything and take no work; a retention is set without its source being within reach', async () => {
    expect((await api.send('GET', `/configs/${configId}`)).json()).toMatchObject({ retentionDays: null, isActive: false });
    expect((await api.send('POST', '/jobs', { backupConfigId: configId })).json()).toMatchObject({ code: 'config_inactive' });
    const active = await api.send('PUT', `/configs/${configId}`, { isActive: true });
    expect(active.json()).toMatchObject({ code: 'path_outside_roots', errors: [{ field: 'source.paths.1' }] });
    const other = await api.send('PUT', `/configs/${configId}`, { source: { type: 'file_system', paths: ['/etc'] } });
    expect(other.json()).toMatchObject({ code: 'path_outside_roots' });
    expect((await api.send('PUT', `/configs/${configId}`, { name: 'renamed' })).json()).toMatchObject({ retentionDays: null });
    expect((await api.send('PUT', `/configs/${configId}`, { retentionDays: 30 })).json()).toMatchObject({ retentionDays: 30 });
  });
});
