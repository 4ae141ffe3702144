import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { targetPassword } from '@holdfast/database/recovery-jobs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { backupResult, configBody, endRun, masterKey, startTestApi, type TestApi } from '../testing/test-api.ts';

const secret = 'the password of a server';
interface ProblemBody {
  readonly code: string;
  readonly errors?: { field: string; message: string }[];
}

let api: TestApi;
let entityId: string;
let backupJobId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('applications');
  const parts = [{ name: 'files', kind: 'paths', paths: ['/srv/data/uploads'] }];
  const source = { type: 'application_data', parts };
  backupJobId = await backup(configBody(entityId, { backupType: 'application_data', source }), [
    { name: 'shop', kind: 'mysql' },
    { name: 'cache', kind: 'redis' },
  ]);
});
afterAll(() => api?.[Symbol.asyncDispose]());

/** A completed backup, whose row has these parts. */
async function backup(body: object, parts: readonly object[]): Promise<string> {
  const config = await api.send('POST', '/configs', body);
  expect(config.statusCode, config.body).toBe(201);
  const job = await api.send('POST', '/jobs', { backupConfigId: config.json<{ id: string }>().id });
  const { id } = job.json<{ id: string }>();
  await endRun(api.database, 'backup', id, { status: 'completed', result: { ...backupResult, metadata: { parts } } });
  return id;
}

describe('a recovery into a server of MariaDB or Redis', () => {
  const connection = { host: 'db.internal', user: 'admin' };
  const mysql = { kind: 'mysql', part: 'shop', connection, database: 'shop again' };
  const redis = { kind: 'redis', part: 'cache', connection: { host: 'db.internal' } };
  const recover = (more: object) => api.send('POST', '/recovery', { backupJobId, recoveryType: 'full', execute: false, ...more });

  test('seals the password, and shows where it goes', async () => {
    const answer = await recover({ targetServer: mysql, targetPassword: secret });
    expect(answer.statusCode, answer.body).toBe(201);
    expect(answer.json()).toMatchObject({
      targetLocation: 'mysql://admin@db.internal:3306/shop%20again',
      options: { server: { part: 'shop', connection: { port: 3306 } } },
    });
    const { id } = answer.json<{ id: string }>();
    for (const text of [answer.body, (await api.send('GET', `/recovery/${id}`)).body]) expect(text).not.toMatch(/password of|sealed/u);
    expect(await targetPassword(api.database.client, id, parseMasterKey(masterKey))).toBe(secret);
    expect((await recover({ targetServer: redis })).json()).toMatchObject({ targetLocation: 'redis://default@db.internal:6379' });
    expect(api.logLines.join('\n')).not.toContain(secret);
  });

  test.each([
    ['a folder beside it', { targetServer: mysql, targetLocation: '/srv/restored/x' }, 'request_invalid', 'targetLocation'],
    ['paths of files', { targetServer: mysql, paths: ['/databases'] }, 'request_invalid', 'paths'],
    ['a point in time', { targetServer: redis, recoveryType: 'point_in_time' }, 'request_invalid', 'targetServer'],
    ['a table of a full one', { targetServer: { ...mysql, table: 'a' } }, 'request_invalid', 'targetServer.table'],
    ['a selective one without keys', { targetServer: redis, recoveryType: 'selective' }, 'request_invalid', 'targetServer.keyPrefixes'],
    ['a name for no table', { targetServer: { ...mysql, as: 'b' } }, 'request_invalid', 'targetServer.as'],
    ['a part of another kind', { targetServer: { ...mysql, part: 'cache' } }, 'request_invalid', 'targetServer.part'],
    [
      'another server',
      { targetServer: { ...redis, connection: { host: 'db' } } },
      'redis_host_not_allowed',
      'targetServer.connection.host',
    ],
  ])('%s: refused, and the field is named', async (_, more, code, field) => {
    const problem = (await recover(more)).json<ProblemBody>();
    expect(problem.code).toBe(code);
    expect(problem.errors?.map((error) => error.field)).toEqual([field]);
  });

  test('a backup of files has no such part', async () => {
    const id = await backup(configBody(entityId), []);
    const problem = (await recover({ backupJobId: id, targetServer: mysql })).json<ProblemBody>();
    expect(problem).toMatchObject({ code: 'request_invalid', errors: [{ field: 'targetServer' }] });
  });
});
