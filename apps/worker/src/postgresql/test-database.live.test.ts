import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createVerification } from '@holdfast/database/verifications';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { makeShop } from '@holdfast/sources/postgresql/testing/sample-shop';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const missing = missingPostgres(15);

describe.skipIf(missing !== null)(`restore tests of logical backups of a PostgreSQL 15 server ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;

  const backUp = async (database: string): Promise<string> => {
    const { host, port, user, password } = server;
    const connection = { host, port, user, database: 'postgres', tls: { mode: 'disable' } };
    const source = { type: 'postgresql', method: 'logical', databases: [database], connection };
    const sourcePassword = { place: connectionPlace(connection), password };
    const id = await fixture.submitBackup(
      await fixture.createConfig({ name: database, backupType: 'database_full', source, sourcePassword }),
    );
    expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed', errorMessage: null });
    return id;
  };

  /** The test of a backup; nothing of it is left in the scratch folder but a copy of the server's programs. */
  const runTest = async (backupJobId: string, assertions: object[] = []) => {
    const input = { backupJobId, verificationType: 'restore_test', options: { assertions } } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
    await fixture.queues.enqueueRun('verify', id);
    const { status, errorMessage } = await fixture.eventually('verify', id, isFinal, 120_000);
    const { details } = await fixture.database.db.client.backupVerification.findUniqueOrThrow({ where: { id } });
    const left = (await readdir(join(fixture.folder, 'scratch'))).filter((name) => !/^(postgresql-.*|stat-cache)$/u.test(name));
    expect(left).toEqual([]);
    return { status, errorMessage, details };
  };

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15 });
    fixture = await openWorkerFixture('postgresql');
    // The server of a test runs as an account without rights, and has to pass them.
    await mkdir(join(fixture.folder, 'scratch'), { recursive: true });
    for (const name of ['', 'scratch']) await chmod(join(fixture.folder, name), 0o711);
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) } });
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test('a server has every row, and what was asserted', async () => {
    await makeShop(server, 'shop');
    const backupJobId = await backUp('shop');
    const assertion = { database: 'shop', sql: 'SELECT sum(balance)::bigint FROM shop.accounts' };
    const tested = await runTest(backupJobId, [{ ...assertion, name: 'all the money', expected: 200_000 }]);
    expect(tested).toMatchObject({ status: 'completed', errorMessage: null, details: { findingCount: 0, findings: [], isExact: true } });
    const [counted] = await server.query<{ n: string }>(
      `SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM ONLY %s', oid::regclass), false, true, '')))[1]::text::bigint) AS n
       FROM pg_class WHERE relkind IN ('r', 'm') AND relnamespace::regnamespace::text IN ('shop', '"Odd. ""Name/%"')`,
      { database: 'shop' },
    );
    expect(tested.details).toMatchObject({ rows: Number(counted?.n) });

    expect(await runTest(backupJobId, [{ ...assertion, name: 'more money', expected: 200_001 }])).toMatchObject({
      status: 'failed',
      errorMessage: expect.stringContaining('more money: 200000') as string,
      details: { findings: [{ kind: 'assertion_failed', database: 'shop' }] },
    });
  });

  test('tablespaces of the other machine are no obstacle, and what a program in the backup does, it does without rights', async () => {
    const folder = join(server.folder, 'fast');
    const marker = join(server.folder, 'marker');
    await mkdir(folder);
    await chmod(server.folder, 0o777);
    await promisify(execFile)('chown', ['--reference', server.dataDir, folder]);
    await server.query(`CREATE TABLESPACE fast LOCATION '${folder}'`);
    await server.query("CREATE DATABASE elsewhere LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' TEMPLATE template0");
    await server.query(
      `CREATE TABLE spaced (id int) TABLESPACE fast; INSERT INTO spaced SELECT generate_series(1, 10);
       CREATE FUNCTION say_who(id int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
         COPY (SELECT 1) TO PROGRAM 'id -u > ${marker}; env >> ${marker}'; RETURN true; END $$;
       CREATE TABLE tricky (id int CHECK (say_who(id))); INSERT INTO tricky VALUES (1)`,
      { database: 'elsewhere' },
    );
    const backupJobId = await backUp('elsewhere');
    await rm(marker);
    expect(await runTest(backupJobId)).toMatchObject({ status: 'completed', errorMessage: null, details: { findings: [], rows: 11 } });
    const [uid, ...environment] = (await readFile(marker, 'utf8')).trim().split('\n');
    expect(uid).toBe(process.getuid?.() === 0 ? '65534' : String(process.getuid?.()));
    expect(environment.filter((line) => line.startsWith('HOLDFAST'))).toEqual([]);
  });

  test('rows that cannot come back are found', async () => {
    await server.query('CREATE DATABASE broken');
    // A function that was changed behind the back of its constraint: the rows read well, and cannot be written again.
    await server.query(
      `CREATE FUNCTION least_value() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
       CREATE TABLE measured (v int CHECK (v >= least_value())); INSERT INTO measured VALUES (1);
       CREATE OR REPLACE FUNCTION least_value() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 2; END'`,
      { database: 'broken' },
    );
    expect(await runTest(await backUp('broken'))).toMatchObject({
      status: 'failed',
      errorMessage: expect.stringContaining('measured') as string,
      details: { findings: [{ kind: 'table_not_restored', database: 'broken', relation: 'public.measured' }] },
    });
  });
});
