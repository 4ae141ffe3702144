import { storageCredentials } from '@holdfast/database/repositories';
import { finishStorageTest } from '@holdfast/database/storage-tests';
import { credentialsPlace, parseStorageOptions } from '@holdfast/storage/storage-options';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

const secret = 'a password, of the storage tests';
const hostKey = `SHA256:${'A'.repeat(43)}`;
const options = { type: 'sftp', host: 'sftp.internal', user: 'backup', path: '/backups/a', hostKey };
const credentials = { password: secret };

interface ProblemBody {
  readonly code: string;
  readonly errors?: readonly { readonly field: string }[];
}

let api: TestApi;
let entityId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('remote');
});
afterAll(() => api[Symbol.asyncDispose]());

const body = (more: object = {}) =>
  configBody(entityId, { storageLocation: 'sftp', storageOptions: options, storageCredentials: credentials, ...more });

interface Config {
  readonly id: string;
  readonly repositoryId: string;
  readonly storageOptions: unknown;
}

const create = async (more: object = {}): Promise<Config> => {
  const answer = await api.send('POST', '/configs', body(more));
  expect(answer.statusCode, answer.body).toBe(201);
  return answer.json<Config>();
};

/** What a worker would use, for options as given. */
const known = async (repositoryId: string, of: object): Promise<unknown> => {
  const place = credentialsPlace(parseStorageOptions(of)) ?? '';
  return JSON.parse((await storageCredentials(api.database.client, repositoryId, place, api.config.masterKey)) ?? 'null');
};

describe('an append-only repository', () => {
  test('is cleaned up when its option is gone, and told so before', async () => {
    const storageOptions = { ...options, path: '/backups/append' };
    const { id, repositoryId } = await create({ storageOptions: { ...storageOptions, appendOnly: true } });
    const clean = async (more: object) => {
      const answer = await api.send('POST', '/maintenance/cleanup', more);
      return answer.json<ProblemBody & { readonly hint?: string; readonly items?: readonly { repositoryId: string }[] }>();
    };
    const refused = await clean({ repositoryId });
    expect(refused).toMatchObject({ status: 409, code: 'storage_append_only', hint: expect.stringContaining('appendOnly') });
    expect((await clean({ repositoryId, dryRun: true })).items).toMatchObject([{ repositoryId }]);
    expect((await clean({ businessEntityId: entityId })).items?.map((item) => item.repositoryId)).not.toContain(repositoryId);
    // The option changes no place: credentials stay.
    const changed = await api.send('PUT', `/configs/${id}`, { storageOptions: { ...storageOptions, appendOnly: false } });
    expect(changed.statusCode, changed.body).toBe(200);
    expect(await known(repositoryId, storageOptions)).toEqual(credentials);
    expect((await clean({ repositoryId })).items).toMatchObject([{ repositoryId }]);
  });
});

describe('credentials of a storage', () => {
  test('are sealed for their place, shown nowhere, and kept by a change that does not name them', async () => {
    const { id, repositoryId } = await create();
    expect(await known(repositoryId, options)).toEqual(credentials);
    const changed = await api.send('PUT', `/configs/${id}`, { name: 'renamed', storageOptions: { ...options, maxConnections: 3 } });
    expect(changed.statusCode, changed.body).toBe(200);
    expect(await known(repositoryId, options)).toEqual(credentials);
    for (const path of [`/configs/${id}`, `/repositories/${repositoryId}`, '/configs', '/repositories']) {
      expect((await api.send('GET', path)).body).not.toMatch(new RegExp(`${secret}|sealed|storageCredentials`, 'u'));
    }
    expect(api.logLines.join('')).not.toContain(secret);
  });

  test('are changed by sending new ones, for every config of the repository', async () => {
    const where = { storageOptions: { ...options, path: '/backups/rotated' } };
    const { id, repositoryId } = await create(where);
    const sibling = await create({ ...where, name: 'sibling', storageCredentials: undefined });
    expect(sibling.repositoryId).toBe(repositoryId);
    const rotated = { password: `${secret}, the next` };
    const faster = { ...where.storageOptions, maxConnections: 16 };
    const changed = await api.send('PUT', `/configs/${id}`, { storageOptions: faster, storageCredentials: rotated });
    expect(changed.statusCode, changed.body).toBe(200);
    expect(await known(repositoryId, faster)).toEqual(rotated);
    expect((await api.send('GET', `/configs/${sibling.id}`)).json<Config>().storageOptions).toEqual(faster);
    expect((await api.send('GET', `/repositories/${repositoryId}`)).json<Config>().storageOptions).toEqual(faster);
    expect((await api.send('PUT', `/configs/${sibling.id}`, { name: 'still there' })).statusCode).toBe(200);
  });

  test.each([
    ['another server', { host: 'a.storage.internal' }],
    ['another account', { user: 'other' }],
    ['another folder', { path: '/backups/b' }],
    ['another host key', { hostKey: `SHA256:${'B'.repeat(43)}` }],
  ])('have to be sent again for %s', async (_, change) => {
    const where = { ...options, path: `/backups/moved ${Object.keys(change).join('')}` };
    const { id } = await create({ storageOptions: where });
    const moved = { storageOptions: { ...where, ...change } };
    const refused = await api.send('PUT', `/configs/${id}`, moved);
    expect(refused.json<ProblemBody>()).toMatchObject({
      status: 400,
      code: 'credentials_missing',
      errors: [{ field: 'storageCredentials' }],
    });
    expect((await api.send('GET', `/configs/${id}`)).json<Config>().storageOptions).toEqual(where);
    const sent = await api.send('PUT', `/configs/${id}`, { ...moved, storageCredentials: credentials });
    expect(sent.statusCode, sent.body).toBe(200);
    expect(await known(sent.json<Config>().repositoryId, moved.storageOptions)).toEqual(credentials);
  });

  test.each([
    [
      'none for a server',
      { storageCredentials: undefined, storageOptions: { ...options, path: '/backups/new' } },
      400,
      'credentials_missing',
      'storageCredentials',
    ],
    ['some for a folder', { ...configBody('x') }, 400, 'request_invalid', 'storageCredentials'],
    ['those of another kind', { storageCredentials: { accountKey: secret } }, 400, 'request_invalid', 'storageCredentials'],
    ['one that is no text', { storageCredentials: { password: [secret] } }, 400, 'request_invalid', 'storageCredentials'],
    ['a secret in the options', { storageOptions: { ...options, password: secret } }, 400, 'request_invalid', 'storageOptions.password'],
    [
      'a server that is not allowed',
      { storageOptions: { ...options, host: '169.254.169.254' } },
      422,
      'storage_host_not_allowed',
      'storageOptions',
    ],
    ['a port that is not allowed', { storageOptions: { ...options, port: 2222 } }, 422, 'storage_host_not_allowed', 'storageOptions'],
    ['another kind than storageLocation', { storageLocation: 'ftp' }, 400, 'request_invalid', 'storageOptions.type'],
  ])('%s: refused, and the field is named', async (_, more, status, code, field) => {
    const answer = await api.send('POST', '/configs', body({ ...more, businessEntityId: entityId, name: 'refused' }));
    expect(answer.statusCode, answer.body).toBe(status);
    const problem = answer.json<ProblemBody>();
    expect(problem.code).toBe(code);
    expect(problem.errors?.map((error) => error.field).join(' ')).toContain(field);
    expect(answer.body).not.toContain(secret);
  });

  test("a worker's own rights: only when the operator allows it", async () => {
    const where = {
      storageLocation: 's3',
      storageOptions: { type: 's3', endpoint: 'https://a.storage.internal', region: 'eu', bucket: 'bucket' },
    };
    const answer = await api.send('POST', '/configs', body({ ...where, storageCredentials: { from: 'environment' } }));
    expect(answer.json<ProblemBody>()).toMatchObject({ status: 400, code: 'request_invalid', errors: [{ field: 'storageCredentials' }] });
  });
});

describe('a place that is tried', () => {
  // Does what a worker would: the real one is in the tests of the whole system, since the API's tests may not import the worker.
  const trial = { ok: true, steps: [{ step: 'open', ok: true, durationMs: 1 }], holdsRepository: false };
  const answerOnce = async (): Promise<void> => {
    for (;;) {
      const row = await api.database.client.storageTest.findFirst({ where: { finishedAt: null } });
      if (row !== null) return finishStorageTest(api.database.client, row.id, trial, new Date());
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };

  test('gets its answer, and nothing of it stays', async () => {
    const [answer] = await Promise.all([
      api.send('POST', '/repositories/test', { businessEntityId: entityId, storageOptions: options, storageCredentials: credentials }),
      answerOnce(),
    ]);
    expect(answer.statusCode, answer.body).toBe(200);
    expect(answer.json()).toEqual(trial);
    expect(await api.database.client.storageTest.count()).toBe(0);
    const { data } = (await api.queues.byName.storage_test.getJobs())[0] ?? {};
    expect(JSON.stringify(data ?? {})).not.toContain(secret);
  });

  test('is that of a repository, with what is known of it', async () => {
    const { repositoryId } = await create({ storageOptions: { ...options, path: '/backups/tried' } });
    const [answer] = await Promise.all([api.send('POST', `/repositories/${repositoryId}/test`), answerOnce()]);
    expect(answer.json()).toEqual(trial);
  });

  test.each([
    ['without credentials', {}, 'credentials_missing'],
    [
      'at a server that is not allowed',
      { storageOptions: { ...options, host: 'localhost' }, storageCredentials: credentials },
      'storage_host_not_allowed',
    ],
    ['outside of the roots', { storageOptions: { type: 'local', path: '/etc' } }, 'path_outside_roots'],
    ['of an entity that is not there', { businessEntityId: 'nobody', storageCredentials: credentials }, 'not_found'],
  ])('%s: refused', async (_, more, code) => {
    const answer = await api.send('POST', '/repositories/test', { businessEntityId: entityId, storageOptions: options, ...more });
    expect(answer.json<ProblemBody>().code, answer.body).toBe(code);
    expect(await api.database.client.storageTest.count()).toBe(0);
  });

  test("of another's entity is not there", async () => {
    const token = api.token('operator', ['another']);
    const sent = { businessEntityId: entityId, storageOptions: options, storageCredentials: credentials };
    expect((await api.send('POST', '/repositories/test', sent, { token })).statusCode).toBe(404);
    const { repositoryId } = await create({ storageOptions: { ...options, path: "/backups/another's" } });
    expect((await api.send('POST', `/repositories/${repositoryId}/test`, undefined, { token })).statusCode).toBe(404);
  });
});
