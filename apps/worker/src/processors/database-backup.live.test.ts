import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { createVerification } from '@holdfast/database/verifications';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { makeShop, moneyFacts, moveMoney, readOnlyRoleSql, shopDigest } from '@holdfast/sources/postgresql/testing/sample-shop';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';

const missing = missingPostgres(15);
const role = 'holdfast_backup';
const password = 'a secret/of "the" tests';

describe.skipIf(missing !== null)(`backups of a PostgreSQL 15 server ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let configCount = 0;

  const connection = (more: object = {}) => ({
    host: server.host,
    port: server.port,
    user: role,
    database: 'postgres',
    tls: { mode: 'disable' },
    ...more,
  });
  const makeConfig = (source: object = {}, given: string | null = password): Promise<string> => {
    const { connection: to = {}, ...rest } = source as { connection?: object };
    const whole = { type: 'postgresql', method: 'logical', databases: ['shop'], connection: connection(to), ...rest };
    const sourcePassword = given === null ? null : { place: connectionPlace(whole.connection), password: given };
    return fixture.createConfig({ name: `config ${configCount++}`, backupType: 'database_full', source: whole, sourcePassword });
  };
  const backUp = async (configId: string): Promise<{ id: string; row: RunRow }> => {
    const id = await fixture.submitBackup(configId);
    return { id, row: await fixture.eventually('backup', id, isFinal, 60_000) };
  };
  const goodBackup = async (configId: string): Promise<string> => {
    const { id, row } = await backUp(configId);
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    return id;
  };
  const recover = async (
    backupJobId: string,
    database: object,
    more: { type?: 'full' | 'selective'; overwrite?: boolean; ownOid?: string; onAccepted?: (id: string) => Promise<void> } = {},
  ) => {
    const { type = 'full', overwrite = false, ownOid, onAccepted } = more;
    const target = { connection: connection({ user: server.user }), database: 'restored', ...database };
    const targetLocation = `postgresql://${connectionPlace(target.connection)}/${target.database}`;
    const targetPassword = { password: server.password, masterKey: parseMasterKey(fixture.environment['HOLDFAST_MASTER_KEY'] ?? '') };
    const input = {
      backupJobId,
      recoveryType: type,
      targetLocation,
      options: { overwrite, database: target },
      targetPassword,
      execute: true,
    };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    const metadata = { target: { location: targetLocation, oid: ownOid } };
    if (ownOid !== undefined) await fixture.database.db.client.recoveryJob.update({ where: { id }, data: { metadata } });
    await onAccepted?.(id);
    await fixture.queues.enqueueRun('recovery', id);
    const row = await fixture.eventually('recovery', id, isFinal, 60_000);
    return { ...row, job: await fixture.database.db.client.recoveryJob.findUniqueOrThrow({ where: { id } }) };
  };
  const openTransactions = async (): Promise<number> => {
    const rows = await server.query(
      "SELECT FROM pg_stat_activity WHERE application_name LIKE 'holdfast%' AND backend_type = 'client backend'",
    );
    return rows.length;
  };

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15 });
    await makeShop(server, 'shop');
    await server.query(readOnlyRoleSql(role, password));
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) } });
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test('everything comes back, as the least of rights may read it', async () => {
    const job = await goodBackup(await makeConfig());
    const { status, errorMessage, job: recovery } = await recover(job, { database: 'everything' });
    expect({ status, errorMessage }).toEqual({ status: 'completed', errorMessage: null });
    expect(await shopDigest(server, 'everything')).toBe(await shopDigest(server, 'shop'));
    const [counted] = await server.query<{ n: string }>(
      `SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM ONLY %s', oid::regclass), false, true, '')))[1]::text::bigint) AS n
       FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('shop', '"Odd. ""Name/%"')`,
      { database: 'everything' },
    );
    expect(recovery.recoveredRecords).toBe(BigInt(counted?.n ?? 0));
    expect(recovery.metadata).toMatchObject({ tableCount: 13, failedCount: 0 });
    expect(await openTransactions()).toBe(0);
  });

  test('a backup shows one moment while money moves, and the next one adds little', async () => {
    const configId = await makeConfig({ connections: 2 });
    let job: string;
    {
      await using money = await moveMoney(server, 'shop');
      await expect.poll(() => money.transfers()).toBeGreaterThan(50);
      job = await goodBackup(configId);
      expect(money.transfers()).toBeGreaterThan(100);
    }
    expect(await recover(job, { database: 'moment' })).toMatchObject({ status: 'completed' });
    const facts = await moneyFacts(server, 'moment');
    expect(facts).toMatchObject({ sum: '200000', unpaired: '0', wrong: '0' });
    expect(Number(facts.entries)).toBeGreaterThan(0);
    const second = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id: await goodBackup(configId) } });
    const { dataAdded, totalBytesProcessed } = (second.metadata as { summary: Record<string, number> }).summary;
    expect(Number(dataAdded) * 2).toBeLessThan(Number(totalBytesProcessed));
  });

  test.each(['checksum', 'integrity'] as const)('is verified by %s', async (verificationType) => {
    const backupJobId = await goodBackup(await makeConfig());
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', { backupJobId, verificationType }));
    await fixture.queues.enqueueRun('verify', id);
    expect(await fixture.eventually('verify', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
  });

  describe('one table into a database that is in use', () => {
    let job: string;
    beforeAll(async () => {
      job = await goodBackup(await makeConfig());
      await recover(job, { database: 'live' });
    });
    const rows = async (table: string): Promise<string> =>
      (await server.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`, { database: 'live' }))[0]?.n ?? '';
    const selective = (more: object, overwrite = false) => recover(job, { database: 'live', ...more }, { type: 'selective', overwrite });

    test('is refused while it has rows, and nothing changes', async () => {
      await server.query("UPDATE shop.wide SET text = 'changed' WHERE id = 1", { database: 'live' });
      expect(await selective({ tables: ['shop.wide'], content: 'data' })).toMatchObject({
        status: 'failed',
        errorCode: 'target_not_empty',
      });
      expect(await server.query("SELECT FROM shop.wide WHERE text = 'changed'", { database: 'live' })).toHaveLength(1);
    });

    test('replaces the rows when that is allowed', async () => {
      const done = await selective({ tables: ['shop.wide'], content: 'data' }, true);
      expect(done).toMatchObject({ status: 'completed', job: { recoveredRecords: 4000n } });
      expect(await server.query("SELECT FROM shop.wide WHERE text = 'changed'", { database: 'live' })).toHaveLength(0);
    });

    test('is made anew, a partitioned one with its partitions, indexes and sequence', async () => {
      await server.query('DROP TABLE shop.orders CASCADE', { database: 'live' });
      expect(await selective({ tables: ['shop.orders'], content: 'data' })).toMatchObject({ errorCode: 'postgresql_not_found' });
      expect(await selective({ tables: ['shop.orders'] })).toMatchObject({ status: 'completed', job: { recoveredRecords: 5003n } });
      expect(await rows('shop.orders')).toBe('5003');
      const [next] = await server.query<{ id: string }>("INSERT INTO shop.orders (placed) VALUES ('2026-05-05') RETURNING id", {
        database: 'live',
      });
      expect(next?.id).toBe('5004');
      expect(
        await server.query("SELECT FROM pg_indexes WHERE schemaname = 'shop' AND tablename = 'orders'", { database: 'live' }),
      ).toHaveLength(2);
      expect(await server.query("SELECT FROM pg_database WHERE datname LIKE 'holdfast_scratch%'")).toHaveLength(0);
    });

    test('is made anew by the attempt after one that was killed, whose scratch database goes too', async () => {
      await server.query('DROP TABLE shop.wide CASCADE', { database: 'live' });
      const onAccepted = async (id: string): Promise<void> => {
        await server.query(`CREATE DATABASE holdfast_scratch_${id}`);
        await server.query('CREATE SCHEMA shop', { database: `holdfast_scratch_${id}` });
      };
      const target = { database: 'live', tables: ['shop.wide'] };
      const done = await recover(job, target, { type: 'selective', onAccepted });
      expect(done).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 4000n } });
      expect(await server.query("SELECT FROM pg_database WHERE datname LIKE 'holdfast_scratch%'")).toHaveLength(0);
    });

    test('fails alone: the others are filled, and the result says which', async () => {
      await server.query('TRUNCATE shop.wide, shop.audit', { database: 'live' });
      const {
        status,
        errorCode,
        job: recovery,
      } = await selective({ tables: ['shop.wide', 'shop.parents', 'shop.audit'], content: 'data' });
      expect({ status, errorCode }).toEqual({ status: 'failed', errorCode: 'target_not_empty' });
      expect(recovery.metadata).toMatchObject({
        tableCount: 2,
        failedCount: 1,
        failed: [{ table: 'shop.parents', code: 'target_not_empty' }],
      });
      expect(await rows('shop.wide')).toBe('4000');
    });

    test('that the backup does not have is told by name', async () => {
      const { errorCode, errorMessage } = await selective({ tables: ['shop.no_such'] });
      expect({ errorCode, errorMessage }).toEqual({
        errorCode: 'postgresql_not_found',
        errorMessage: expect.stringContaining('shop.no_such') as string,
      });
    });
  });

  test('a database that has tables is refused, and made anew when that is allowed', async () => {
    const job = await goodBackup(await makeConfig());
    await server.query('CREATE DATABASE occupied');
    await server.query('CREATE TABLE precious AS SELECT 1 AS id', { database: 'occupied' });
    expect(await recover(job, { database: 'occupied' })).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
    expect(await server.query('SELECT FROM precious', { database: 'occupied' })).toHaveLength(1);
    expect(await recover(job, { database: 'occupied' }, { overwrite: true })).toMatchObject({ status: 'completed' });
    expect(await shopDigest(server, 'occupied')).toBe(await shopDigest(server, 'shop'));
  });

  test('what a former attempt of the same recovery left half done is made anew', async () => {
    const job = await goodBackup(await makeConfig());
    await server.query('CREATE DATABASE half');
    await server.query('CREATE TABLE left_behind (id int)', { database: 'half' });
    const [half] = await server.query<{ oid: number }>("SELECT oid FROM pg_database WHERE datname = 'half'");
    expect(await recover(job, { database: 'half' }, { ownOid: '1' })).toMatchObject({ errorCode: 'target_not_empty' });
    expect(await recover(job, { database: 'half' }, { ownOid: String(half?.oid) })).toMatchObject({ status: 'completed' });
    expect(await shopDigest(server, 'half')).toBe(await shopDigest(server, 'shop'));
  });

  test.each(testMajors)('roles that are missing at a server %i are made when globals are asked for', async (major) => {
    await using second = await startTestPostgres({ major });
    await using other = await openWorkerFixture('postgresql');
    await other.startWorker({ config: { databaseHosts: parseAllowedHosts('127.0.0.1') } });
    const toSecond = { connection: connection({ port: second.port, user: second.user }), database: 'shop' };
    const targetLocation = `postgresql://${connectionPlace(toSecond.connection)}/shop`;
    const source = { type: 'postgresql', method: 'logical', databases: ['shop'], connection: connection() };
    const sourcePassword = { place: connectionPlace(source.connection), password };
    const backupJobId = await other.submitBackup(await other.createConfig({ backupType: 'database_full', source, sourcePassword }));
    await other.eventually('backup', backupJobId, isFinal, 60_000);
    const targetPassword = { password: second.password, masterKey: parseMasterKey(other.environment['HOLDFAST_MASTER_KEY'] ?? '') };
    const recoverTo = async (more: object): Promise<RunRow> => {
      const options = { overwrite: true, database: { ...toSecond, ...more } };
      const input = { backupJobId, recoveryType: 'full', targetLocation, options, targetPassword, execute: true } as const;
      const { id } = await inTransaction(other.database.db, (tx) => createRecoveryJob(tx, '*', input));
      await other.queues.enqueueRun('recovery', id);
      return other.eventually('recovery', id, isFinal, 60_000);
    };
    const without = await recoverTo({});
    expect(without).toMatchObject({
      status: 'failed',
      errorCode: 'postgresql_failed',
      errorMessage: expect.stringContaining('role "app_owner" does not exist') as string,
    });
    expect(await recoverTo({ globals: true })).toMatchObject({ status: 'completed', errorMessage: null });
    // From 18 on NOT NULL is a constraint of its own in the catalog.
    if (major < 18) expect(await shopDigest(second, 'shop')).toBe(await shopDigest(server, 'shop'));
    expect(await moneyFacts(second, 'shop')).toEqual(await moneyFacts(server, 'shop'));
    // The one that was signed in with keeps its password.
    expect(await second.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a role with rights on tables only: passwords of roles are left out, and that is told', async () => {
    await server.query("CREATE ROLE modest LOGIN BYPASSRLS PASSWORD 'modest'");
    await server.query(
      `GRANT USAGE ON SCHEMA shop, "Odd. ""Name/%" TO modest; GRANT SELECT ON ALL TABLES IN SCHEMA shop, "Odd. ""Name/%" TO modest;
       GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO modest`,
      { database: 'shop' },
    );
    const configId = await makeConfig({ connection: { user: 'modest' } }, 'modest');
    const denied = await backUp(configId);
    expect(denied.row).toMatchObject({ errorCode: 'postgresql_denied', errorMessage: expect.stringContaining('pg_largeobject') as string });
    await server.query('GRANT SELECT ON pg_catalog.pg_largeobject TO modest', { database: 'shop' });
    const { id, row } = await backUp(configId);
    expect(row).toMatchObject({ status: 'completed_with_warnings', errorMessage: null });
    const { metadata } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
    expect(metadata).toMatchObject({
      skippedCount: 1,
      skipped: [{ path: '/globals.sql', reason: expect.stringContaining('pg_authid') as string }],
    });
    await server.query('REVOKE SELECT ON pg_catalog.pg_largeobject FROM modest', { database: 'shop' });
  });

  describe('what cannot be', () => {
    const failure = async (configId: string): Promise<RunRow> => (await backUp(configId)).row;

    test('a wrong password', async () => {
      expect(await failure(await makeConfig({}, 'wrong-password-123'))).toMatchObject({
        status: 'failed',
        errorCode: 'postgresql_login_failed',
        attempt: 1,
      });
    });

    test('a server that is not allowed', async () => {
      expect(await failure(await makeConfig({ connection: { host: 'localhost' } }))).toMatchObject({
        status: 'failed',
        errorCode: 'postgresql_host_not_allowed',
      });
    });

    test('TLS with a server that has none', async () => {
      expect(await failure(await makeConfig({ connection: { tls: { mode: 'require' } } }))).toMatchObject({
        status: 'failed',
        errorCode: 'postgresql_tls_failed',
      });
    });

    test('a database that is not there', async () => {
      expect(await failure(await makeConfig({ databases: ['nowhere'] }))).toMatchObject({
        status: 'failed',
        errorCode: 'postgresql_not_found',
      });
    });

    test('a table that may not be read is named, and excluding it helps', async () => {
      await server.query(`CREATE ROLE poor LOGIN PASSWORD 'poor'; GRANT pg_read_all_data TO poor`);
      const secured = await failure(await makeConfig({ connection: { user: 'poor' } }, 'poor'));
      expect(secured).toMatchObject({ errorCode: 'postgresql_denied', errorMessage: expect.stringContaining('shop.secured') as string });
      await server.query(`REVOKE pg_read_all_data FROM poor`);
      const denied = await failure(await makeConfig({ connection: { user: 'poor' } }, 'poor'));
      expect(denied).toMatchObject({
        errorCode: 'postgresql_denied',
        errorMessage: expect.stringMatching(/poor may not read .*shop\.accounts/u) as string,
      });
      await server.query(`GRANT pg_read_all_data TO poor`);
      const { id } = await backUp(await makeConfig({ connection: { user: 'poor' }, excludeTables: ['shop.secured'] }, 'poor'));
      expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed' });
    });

    test('a table that somebody alters for too long', async () => {
      await server.query('CREATE TABLE shop.held (id int)', { database: 'shop' });
      const configId = await makeConfig({ lockTimeoutSeconds: 1 });
      const id = await fixture.submitBackup(configId);
      await server.query('BEGIN; LOCK TABLE shop.held; SELECT pg_sleep(3); COMMIT', { database: 'shop' });
      const seen = await fixture.eventually('backup', id, (row) => row.errorCode !== null || isFinal(row), 30_000);
      expect(seen).toMatchObject({ errorCode: 'postgresql_busy' });
      // Another attempt follows by itself, now that the lock is gone.
      expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
      await server.query('DROP TABLE shop.held', { database: 'shop' });
    });

    test('nobody listens: it is tried again', async () => {
      const probe = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => probe.once('listening', resolve));
      const { port } = probe.address() as { port: number };
      await new Promise((resolve) => probe.close(resolve));
      await using other = await openWorkerFixture('postgresql');
      await other.startWorker({ config: { databaseHosts: parseAllowedHosts('127.0.0.1') } });
      const source = { type: 'postgresql', method: 'logical', connection: connection({ port }) };
      const id = await other.submitBackup(await other.createConfig({ backupType: 'database_full', source }));
      expect(await other.eventually('backup', id, (row) => row.errorCode !== null)).toMatchObject({
        status: 'queued',
        errorCode: 'postgresql_unreachable',
      });
    });
  });

  test('secrets are in no row, no event and no argument', async () => {
    const { stdout } = await promisify(execFile)('ps', ['-eo', 'args'], { maxBuffer: 16 * 1024 * 1024 });
    expect(stdout).not.toContain(password);
    const tables = ['backup_configs', 'backup_jobs', 'recovery_jobs', 'events', 'repositories', 'idempotency_keys'];
    for (const table of tables) {
      const { rows } = await fixture.database.db.pool.query<{ text: string }>(`SELECT t::text AS text FROM "${table}" t`);
      const text = rows.map((row) => row.text).join('\n');
      for (const secret of [password, server.password, 'wrong-password-123']) expect(text.includes(secret), table).toBe(false);
    }
    expect(await openTransactions()).toBe(0);
  });
});
