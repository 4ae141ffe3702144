import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { partPassword } from '@holdfast/database/backup-configs';
import { createBackupJob } from '@holdfast/database/backup-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { claimRun, finishRun } from '@holdfast/database/runs';
import { backupResult, configBody, startTestApi, type TestApi } from '../testing/test-api.ts';

let api: TestApi;
let entityId: string;
beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('applications');
});
afterAll(() => api[Symbol.asyncDispose]());

const files = { name: 'uploads', kind: 'paths', paths: ['/srv/data/uploads'] };
const sqlite = { name: 'db', kind: 'sqlite', path: '/srv/data/app.db' };
const pg = { name: 'pg', kind: 'postgresql', connection: { host: 'db.internal', user: 'reader', tls: { mode: 'disable' } } };
const program = (name: string) => ({ kind: 'program', name });
const mysql = { name: 'shop', kind: 'mysql', connection: { host: 'db.internal', user: 'reader' } };
const redis = { name: 'cache', kind: 'redis', connection: { host: 'db.internal' } };
const hooks = { freeze: program('freeze-app'), thaw: program('thaw-app') };
const http = (url: string) => ({ kind: 'http', url });
const httpHooks = { freeze: http('https://app.internal/freeze'), thaw: http('https://app.internal/thaw') };
const body = (source: object, more: object = {}) =>
  configBody(entityId, { backupType: 'application_data', source: { type: 'application_data', ...source }, ...more });
const post = (source: object, more: object = {}) => api.send('POST', '/configs', body(source, more));
const idOf = async (source: object, more: object = {}): Promise<string> => {
  const created = await post(source, more);
  expect(created.statusCode, created.body).toBe(201);
  return created.json<{ id: string }>().id;
};
const sealed = (id: string, name: string, place: string) => partPassword(api.database.client, id, { name, place }, api.config.masterKey);

describe('the config of an application', () => {
  test('is made with defaults, and shows no password', async () => {
    const created = await post({ parts: [files, sqlite, pg], hooks }, { sourcePasswords: { pg: 'se cret' } });
    expect(created.statusCode, created.body).toBe(201);
    expect(created.json()).toMatchObject({
      source: {
        parts: [files, { ...sqlite, blocksWriters: false, patienceSeconds: 300, check: 'quick' }, { name: 'pg' }],
        hooks: { freeze: { name: 'freeze-app', timeoutSeconds: 30 }, maxFrozenSeconds: 60, thawWhen: 'paths_read' },
      },
    });
    const { id } = created.json<{ id: string }>();
    for (const url of ['/configs', `/configs/${id}`]) expect((await api.send('GET', url)).body).not.toMatch(/se cret|sealed/u);
    expect(created.body).not.toMatch(/se cret|sealed/u);
    expect(await sealed(id, 'pg', 'reader@db.internal:5432')).toBe('se cret');
  });

  test('takes servers of MariaDB and Redis, each with its password', async () => {
    const created = await post({ parts: [mysql, redis] }, { sourcePasswords: { shop: 'se cret', cache: 'an other' } });
    expect(created.statusCode, created.body).toBe(201);
    expect(created.body).not.toMatch(/se cret|an other|sealed/u);
    expect(created.json()).toMatchObject({
      source: {
        parts: [
          { name: 'shop', connection: { port: 3306, tls: { mode: 'verify-full' } }, consistency: 'transaction', users: false },
          { name: 'cache', connection: { port: 6379, tls: { mode: 'verify-full' } } },
        ],
      },
    });
    const { id } = created.json<{ id: string }>();
    expect(await sealed(id, 'shop', 'reader@db.internal:3306')).toBe('se cret');
    expect(await sealed(id, 'cache', 'default@db.internal:6379')).toBe('an other');
  });

  test('keeps a password only for the server and user that it was given for', async () => {
    const id = await idOf({ parts: [pg, sqlite] }, { sourcePasswords: { pg: 'first' } });
    const put = (source: object, more: object = {}) =>
      api.send('PUT', `/configs/${id}`, { source: { type: 'application_data', ...source }, ...more });
    expect((await put({ parts: [pg] })).statusCode).toBe(200);
    expect(await sealed(id, 'pg', 'reader@db.internal:5432')).toBe('first');
    const moved = { ...pg, connection: { ...pg.connection, host: 'other.db.internal' } };
    expect((await put({ parts: [moved] })).json()).toMatchObject({ status: 400, errors: [{ field: 'sourcePasswords.pg' }] });
    expect((await put({ parts: [moved] }, { sourcePasswords: { pg: 'second' } })).statusCode).toBe(200);
    expect(await sealed(id, 'pg', 'reader@other.db.internal:5432')).toBe('second');
    await expect(sealed(id, 'pg', 'reader@db.internal:5432')).rejects.toMatchObject({ code: 'secret_unreadable' });
    expect((await put({ parts: [moved] }, { sourcePasswords: { pg: null } })).statusCode).toBe(200);
    expect(await sealed(id, 'pg', 'reader@other.db.internal:5432')).toBeNull();
  });

  test('seals the token of its hooks for their hosts', async () => {
    const id = await idOf({ parts: [files], hooks: httpHooks }, { sourcePasswords: { hooks: 'token' } });
    expect(await sealed(id, 'hooks', 'https://app.internal')).toBe('token');
  });

  test.each([
    ['two parts of one name', { parts: [files, { ...sqlite, name: 'uploads' }] }, 'source.parts.1.name'],
    ['a path in two parts', { parts: [files, { ...files, name: 'more', paths: ['/srv/data'] }] }, 'source.parts.0.paths.0'],
    ['a name that leads elsewhere', { parts: [{ ...files, name: '../x' }] }, 'source.parts.0.name'],
    ['the name of the hooks', { parts: [{ ...files, name: 'hooks' }] }, 'source.parts.0.name'],
    ['no part at all', { parts: [] }, 'source.parts'],
    ['a command line', { parts: [files], hooks: { ...hooks, freeze: program('sh -c reboot') } }, 'source.hooks.freeze.name'],
    ['a path of a program', { parts: [files], hooks: { ...hooks, thaw: program('../thaw') } }, 'source.hooks.thaw.name'],
    ['arguments', { parts: [files], hooks: { ...hooks, thaw: { ...program('thaw'), args: ['-r'] } } }, 'source.hooks.thaw'],
    ['freezing without thawing', { parts: [files], hooks: { freeze: hooks.freeze } }, 'source.hooks.thaw'],
    ['a password in a URL', { parts: [files], hooks: { ...httpHooks, thaw: http('https://u:p@app.internal/') } }, 'source.hooks.thaw.url'],
    ['a file URL', { parts: [files], hooks: { ...httpHooks, thaw: http('file:///etc/passwd') } }, 'source.hooks.thaw.url'],
    [
      'a socket as the host',
      { parts: [{ ...mysql, connection: { host: '/run/mysqld.sock', user: 'a' } }] },
      'source.parts.0.connection.host',
    ],
    ['a table without its database', { parts: [{ ...mysql, excludeTables: ['orders'] }] }, 'source.parts.0.excludeTables.0'],
    ['a password in the options', { parts: [{ ...redis, connection: { host: 'a', password: 'x' } }] }, 'source.parts.0.connection'],
    ['the whole machine', { parts: [{ ...files, paths: ['/'] }] }, 'source.parts.0.paths.0'],
  ])('is refused with %s', async (_, source, field) => {
    const answer = await post(source);
    expect([400, 422], answer.body).toContain(answer.statusCode);
    expect(answer.json<{ errors: { field: string }[] }>().errors[0]?.field).toContain(field);
  });

  test.each([
    ['a path outside of the roots', { parts: [{ ...sqlite, path: '/etc/app.db' }] }, 'path_outside_roots', 'source.parts.0.path'],
    [
      'a database server that is not allowed',
      { parts: [{ ...pg, connection: { ...pg.connection, host: 'elsewhere' } }] },
      'postgresql_host_not_allowed',
      'source.parts.0.connection.host',
    ],
    [
      'a MariaDB server that is not allowed',
      { parts: [{ ...mysql, connection: { ...mysql.connection, host: 'elsewhere' } }] },
      'mysql_host_not_allowed',
      'source.parts.0.connection.host',
    ],
    [
      'a Redis server that is not allowed',
      { parts: [{ ...redis, connection: { host: '169.254.169.254' } }] },
      'redis_host_not_allowed',
      'source.parts.0.connection.host',
    ],
    [
      'a host of a hook that is not allowed',
      { parts: [files], hooks: { ...httpHooks, thaw: http('http://169.254.169.254/latest/meta-data') } },
      'hook_host_not_allowed',
      'source.hooks.thaw.url',
    ],
  ])('is refused with %s', async (_, source, code, field) => {
    expect((await post(source)).json()).toMatchObject({ status: 422, code, errors: [{ field }] });
  });

  test('takes passwords only for parts that have one', async () => {
    const answer = await post({ parts: [sqlite] }, { sourcePasswords: { db: 'x' } });
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ field: 'sourcePasswords.db' }] });
    expect((await post({ parts: [sqlite] }, { sourcePassword: 'x' })).json()).toMatchObject({ errors: [{ field: 'sourcePassword' }] });
  });
});

describe('the recovery of a part', () => {
  const recover = async (more: object) =>
    (await api.send('POST', '/recovery', { backupJobId: 'cnone', recoveryType: 'full', ...more })).json<{
      status: number;
      code: string;
      errors?: object[];
    }>();
  const sqliteTarget = (path: string) => ({ targetSqlite: { part: 'db', path } });

  test.each([
    ['a database outside of the roots', sqliteTarget('/etc/app.db'), 'path_outside_roots', 'targetSqlite.path'],
    ['a part of a database', { ...sqliteTarget('/srv/restored/a.db'), recoveryType: 'selective' }, 'request_invalid', 'recoveryType'],
    ['a folder beside it', { ...sqliteTarget('/srv/restored/a.db'), targetLocation: '/srv/restored' }, 'request_invalid', 'targetLocation'],
    ['a policy for files', { ...sqliteTarget('/srv/restored/a.db'), overwrite: 'if-newer' }, 'request_invalid', 'overwrite'],
    ['paths', { ...sqliteTarget('/srv/restored/a.db'), paths: ['/srv'] }, 'request_invalid', 'paths'],
    ['no part', { targetSqlite: { path: '/srv/restored/a.db' } }, 'request_invalid', 'targetSqlite.part'],
  ])('is refused for %s', async (_, more, code, field) => {
    expect(await recover(more)).toMatchObject({ code, errors: [{ field }] });
  });

  test('is of a part that the backup has', async () => {
    const backupConfigId = await idOf({ parts: [sqlite, pg] });
    const parts = [
      { name: 'db', kind: 'sqlite' },
      { name: 'pg', kind: 'postgresql' },
    ];
    const { row: job } = await inTransaction(api.database, (tx) => createBackupJob(tx, '*', { backupConfigId, execute: true }));
    const claim = await claimRun(api.database, 'backup', job.id, { workerId: 'worker' });
    if (claim === null) throw new Error('the run was not claimed');
    await finishRun(api.database, claim, { status: 'completed', result: { ...backupResult, metadata: { parts } } });
    const of = (more: object) => recover({ backupJobId: job.id, execute: false, ...more });
    expect(await of({ targetSqlite: { part: 'pg', path: '/srv/restored/a.db' } })).toMatchObject({
      errors: [{ field: 'targetSqlite.part' }],
    });
    expect(await of(sqliteTarget('/srv/restored/a.db'))).toMatchObject({ targetLocation: '/srv/restored/a.db' });
    const database = { connection: pg.connection, database: 'shop' };
    expect(await of({ targetDatabase: database })).toMatchObject({ errors: [{ field: 'targetDatabase.part' }] });
    expect(await of({ targetDatabase: { ...database, part: 'db' } })).toMatchObject({ errors: [{ field: 'targetDatabase.part' }] });
    expect(await of({ targetDatabase: { ...database, part: 'pg' } })).toMatchObject({ recoveryType: 'full' });
  });
});
