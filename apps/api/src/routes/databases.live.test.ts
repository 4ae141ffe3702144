import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sourcePassword } from '@holdfast/database/backup-configs';
import { targetPassword } from '@holdfast/database/recovery-jobs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { backupResult, configBody, endRun, masterKey, startTestApi, type TestApi } from '../testing/test-api.ts';

const secret = 'the password of a database';
const connection = { host: 'db.internal', user: 'reader' };
const source = { type: 'postgresql', method: 'logical', connection };
const place = 'reader@db.internal:5432';

interface ProblemBody {
  readonly code: string;
  readonly errors?: { field: string; message: string }[];
}

let api: TestApi;
let entityId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('databases');
});
afterAll(() => api?.[Symbol.asyncDispose]());

const body = (more: object = {}) => configBody(entityId, { backupType: 'database_full', source, sourcePassword: secret, ...more });
const create = async (more: object = {}): Promise<string> => {
  const answer = await api.send('POST', '/configs', body(more));
  expect(answer.statusCode, answer.body).toBe(201);
  return answer.json<{ id: string }>().id;
};
const sealed = (id: string, at = place) => sourcePassword(api.database.client, id, at, parseMasterKey(masterKey));

describe('a config of a database', () => {
  test('fills in what is left out, seals the password and never shows it', async () => {
    const answer = await api.send('POST', '/configs', body());
    expect(answer.body).not.toContain(secret);
    expect(answer.json()).toMatchObject({ source: { connection: { port: 5432, database: 'postgres', tls: { mode: 'verify-full' } } } });
    const { id } = answer.json<{ id: string }>();
    for (const path of [`/configs/${id}`, '/configs']) expect((await api.send('GET', path)).body).not.toContain(secret);
    const events = await api.database.client.event.findMany({ where: { subjectId: id }, select: { data: true } });
    expect(events).toHaveLength(1);
    expect(JSON.stringify(events)).not.toContain(secret);
    const row = await api.database.client.backupConfig.findUniqueOrThrow({ where: { id } });
    expect(JSON.stringify(row)).not.toContain(secret);
    expect(await sealed(id)).toBe(secret);
    await expect(sealed(id, 'reader@elsewhere:5432')).rejects.toMatchObject({ code: 'secret_unreadable' });
  });

  test('keeps its password when a change leaves it out, and takes another one', async () => {
    const id = await create();
    expect((await api.send('PUT', `/configs/${id}`, { name: 'renamed', source: { ...source, databases: ['shop'] } })).statusCode).toBe(200);
    expect(await sealed(id)).toBe(secret);
    expect((await api.send('PUT', `/configs/${id}`, { sourcePassword: 'another' })).statusCode).toBe(200);
    expect(await sealed(id)).toBe('another');
    expect((await api.send('PUT', `/configs/${id}`, { sourcePassword: null })).statusCode).toBe(200);
    expect(await sealed(id)).toBeNull();
  });

  test('sends no password to another server or user than it was given for', async () => {
    const id = await create();
    for (const change of [{ port: 5433 }, { user: 'other' }, { host: 'second.db.internal' }]) {
      const moved = { source: { ...source, connection: { ...connection, ...change } } };
      const refused = await api.send('PUT', `/configs/${id}`, moved);
      expect(refused.json<ProblemBody>()).toMatchObject({ code: 'request_invalid', errors: [{ field: 'sourcePassword' }] });
      expect((await api.send('PUT', `/configs/${id}`, { ...moved, sourcePassword: secret })).statusCode).toBe(200);
    }
    expect(await sealed(id, 'reader@second.db.internal:5432')).toBe(secret);
  });

  const physical = { type: 'postgresql', method: 'physical', connection };
  test('takes the files of the whole server as well', async () => {
    const made = await api.send('POST', '/configs', body({ source: { ...physical, maxRateKiB: 32 } }));
    expect(made.statusCode).toBe(201);
    expect(made.json()).toMatchObject({ backupType: 'database_full', source: { method: 'physical', maxRateKiB: 32 } });
  });

  const files = { type: 'file_system', paths: ['/srv/data/files'] };
  test.each([
    ['files as database_full', { source: files, sourcePassword: undefined }, 400, 'request_invalid', 'source.type'],
    ['a database as file_system', { backupType: 'file_system' }, 400, 'request_invalid', 'source.type'],
    ['a password for files', { backupType: 'file_system', source: files }, 400, 'request_invalid', 'sourcePassword'],
    ['a database as database_incremental', { backupType: 'database_incremental' }, 400, 'request_invalid', 'source.type'],
    [
      'a password within the source',
      { source: { ...source, connection: { ...connection, password: secret } } },
      400,
      'request_invalid',
      'source.connection.password',
    ],
    [
      'a server that is not allowed',
      { source: { ...source, connection: { ...connection, host: '169.254.169.254' } } },
      422,
      'postgresql_host_not_allowed',
      'source.connection.host',
    ],
    [
      'a socket folder',
      { source: { ...source, connection: { ...connection, host: '/run/postgresql' } } },
      400,
      'request_invalid',
      'source.connection.host',
    ],
    ['a rate that no server takes', { source: { ...physical, maxRateKiB: 1 } }, 400, 'request_invalid', 'source.maxRateKiB'],
    ['some databases of all files', { source: { ...physical, databases: ['shop'] } }, 400, 'request_invalid', 'source.databases'],
    ['17 connections', { source: { ...source, connections: 17 } }, 400, 'request_invalid', 'source.connections'],
    ['a table without a schema', { source: { ...source, excludeTables: ['orders'] } }, 400, 'request_invalid', 'source.excludeTables.0'],
  ])('%s is refused, and the field is named', async (_, more, status, code, field) => {
    const answer = await api.send('POST', '/configs', body(more));
    expect(answer.statusCode, answer.body).toBe(status);
    const problem = answer.json<ProblemBody>();
    expect(problem.code).toBe(code);
    expect(problem.errors?.map((error) => error.field)).toContain(field);
    expect(answer.body).not.toContain(secret);
  });
});

describe('a recovery into a database', () => {
  let backupJobId: string;
  const target = { connection: { host: 'db.internal', user: 'admin' }, database: 'shop copy' };
  beforeAll(async () => {
    const job = await api.send('POST', '/jobs', { backupConfigId: await create() });
    backupJobId = job.json<{ id: string }>().id;
    await endRun(api.database, 'backup', backupJobId, { status: 'completed', result: backupResult });
  });
  const recover = (more: object) => api.send('POST', '/recovery', { backupJobId, recoveryType: 'full', execute: false, ...more });

  test('seals the password, shows where it goes and nothing secret', async () => {
    const answer = await recover({ targetDatabase: target, targetPassword: secret });
    expect(answer.statusCode, answer.body).toBe(201);
    expect(answer.json()).toMatchObject({ targetLocation: 'postgresql://admin@db.internal:5432/shop%20copy' });
    const { id } = answer.json<{ id: string }>();
    for (const text of [answer.body, (await api.send('GET', `/recovery/${id}`)).body, (await api.send('GET', '/recovery')).body]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain('sealed');
    }
    expect(await targetPassword(api.database.client, id, parseMasterKey(masterKey))).toBe(secret);
  });

  test('a repetition with its key makes nothing, and no hash of the password is kept', async () => {
    const request = { backupJobId, recoveryType: 'full', execute: false, targetDatabase: target };
    const headers = { 'idempotency-key': 'one recovery' };
    const first = await api.send('POST', '/recovery', { ...request, targetPassword: 'one' }, { headers });
    const second = await api.send('POST', '/recovery', { ...request, targetPassword: 'two' }, { headers });
    expect(second.json<{ id: string }>().id).toBe(first.json<{ id: string }>().id);
  });

  test.each([
    ['no target', {}, 'request_invalid', 'targetLocation'],
    ['two targets', { targetLocation: '/srv/restored/x', targetDatabase: target }, 'request_invalid', 'targetLocation'],
    ['a password for a folder', { targetLocation: '/srv/restored/x', targetPassword: secret }, 'request_invalid', 'targetPassword'],
    ['paths of files', { targetDatabase: target, paths: ['/databases'] }, 'request_invalid', 'paths'],
    ['tables of a full one', { targetDatabase: { ...target, tables: ['a.b'] } }, 'request_invalid', 'targetDatabase.tables'],
    ['a selective one without tables', { recoveryType: 'selective', targetDatabase: target }, 'request_invalid', 'targetDatabase.tables'],
    [
      'another server',
      { targetDatabase: { ...target, connection: { host: 'db', user: 'a' } } },
      'postgresql_host_not_allowed',
      'targetDatabase.connection.host',
    ],
  ])('%s: refused, and the field is named', async (_, more, code, field) => {
    const problem = (await recover(more)).json<ProblemBody>();
    expect(problem.code).toBe(code);
    expect(problem.errors?.map((error) => error.field)).toEqual([field]);
  });

  test('a backup of files goes into no database', async () => {
    const config = await api.send('POST', '/configs', configBody(entityId));
    const job = await api.send('POST', '/jobs', { backupConfigId: config.json<{ id: string }>().id });
    const { id } = job.json<{ id: string }>();
    await endRun(api.database, 'backup', id, { status: 'completed', result: backupResult });
    const problem = (await recover({ backupJobId: id, targetDatabase: target })).json<ProblemBody>();
    expect(problem).toMatchObject({ code: 'request_invalid', errors: [{ field: 'targetDatabase' }] });
  });

  test('nothing that was logged holds a password', () => {
    expect(api.logLines.join('\n')).not.toContain(secret);
  });
});
