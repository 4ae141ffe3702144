import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

// A server whose WAL is archived, over the real API: somebody's mistake is undone by going back to the moment before it.
describe.skipIf(missingPostgres(15) !== null)('a PostgreSQL server with its WAL', () => {
  const password = 'a password, of the e2e tests';
  const orderCount = 500;
  let server: TestPostgres;
  let system: System;
  let tenant: Tenant;
  let base: Row;
  let wal: Row;
  let beforeMistake: string;

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15 });
    await server.query(`CREATE ROLE holdfast_physical LOGIN REPLICATION PASSWORD '${password}'; CREATE TABLE orders (id int PRIMARY KEY)`);
    system = await startSystem({
      queue: 'postgresql',
      workerCount: 1,
      environment: { HOLDFAST_DATABASE_HOSTS: `127.0.0.1:${server.port}` },
    });
    tenant = await createTenant(system, { name: 'point in time', sourcePath: system.sources });
  });
  afterAll(async () => {
    await system?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  const addConfig = async (backupType: string, source: object, more: object = {}) =>
    await system.api.post('/configs', {
      businessEntityId: tenant.entityId,
      name: backupType,
      backupType,
      source,
      retentionDays: 30,
      storageLocation: 'local',
      storageOptions: { type: 'local', path: join(system.repositories, 'cluster') },
      ...more,
    });
  const backUp = async (config: Row): Promise<Row> => {
    const accepted = await system.api.post('/jobs', { backupConfigId: config.id });
    const job = await system.api.finished(`/jobs/${accepted.id}`);
    expect(job).toMatchObject({ status: 'completed', errorMessage: null });
    return job;
  };

  test('is backed up whole, and then what was written since', async () => {
    const connection = { host: server.host, port: server.port, user: 'holdfast_physical', tls: { mode: 'disable' } };
    base = await addConfig('database_full', { type: 'postgresql', method: 'physical', connection }, { sourcePassword: password });
    wal = await addConfig('database_incremental', { type: 'postgresql_wal', method: 'wal', baseConfigId: base.id });
    await backUp(base);
    await backUp(wal);
    await server.query(`INSERT INTO orders SELECT generate_series(1, ${orderCount})`);
    const [moment] = await server.query<{ now: string }>(
      `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
    );
    beforeMistake = moment?.now ?? '';
    await server.query('DELETE FROM orders WHERE id > 10');
    await backUp(wal);
    expect(await server.query('SELECT slot_name FROM pg_replication_slots')).toEqual([{ slot_name: `holdfast_${wal.id}` }]);
  });

  test('is recovered to the moment before a mistake', async () => {
    const window = await system.api.get<{ windows: { from: string; to: string; gaps: unknown[] }[] }>(`/configs/${wal.id}/recovery-window`);
    expect(window).toMatchObject({ baseConfigId: base.id, windows: [{ gaps: [] }] });
    const latest = await backUp(wal);
    const targetLocation = join(system.targets, 'cluster');
    const accepted = await system.api.post('/recovery', {
      backupJobId: latest.id,
      recoveryType: 'point_in_time',
      targetLocation,
      pointInTime: { time: beforeMistake },
      start: true,
    });
    const recovery = await system.api.finished(`/recovery/${accepted.id}`);
    expect(recovery).toMatchObject({ status: 'completed', errorMessage: null, recoveredRecords: orderCount });
    await using copy = await startTestPostgres({ major: 15, dataDir: targetLocation, password: server.password });
    expect(await copy.query('SELECT count(*)::int AS count FROM orders')).toEqual([{ count: orderCount }]);
    expect(await server.query('SELECT count(*)::int AS count FROM orders')).toEqual([{ count: 10 }]);
  });

  test('is tested by a restore of its WAL, which a scratch server reads', async () => {
    const latest = await backUp(wal);
    const accepted = await system.api.post(`/jobs/${latest.id}/verify`, {
      verificationType: 'restore_test',
      assertions: [{ name: 'ten are left', database: 'postgres', sql: 'SELECT count(*) FROM orders', expected: 10 }],
    });
    const verification = await system.api.finishedIn('/verifications', accepted.id);
    expect(verification).toMatchObject({ status: 'completed', errorMessage: null, details: { rows: 10, findings: [] } });
  });
});
