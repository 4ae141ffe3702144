import { makeShop, readOnlyRoleSql, shopDigest } from '@holdfast/sources/postgresql/testing/sample-shop';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

// A PostgreSQL server from config to recovery, over the real API, with a worker in a process of its own.
describe.skipIf(missingPostgres(15) !== null)('a PostgreSQL server', () => {
  const password = 'a password, of the e2e tests';
  let server: TestPostgres;
  let system: System;
  let tenant: Tenant;
  let backup: Row;

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15 });
    await makeShop(server, 'shop');
    await server.query(readOnlyRoleSql('holdfast_backup', password));
    system = await startSystem({
      queue: 'postgresql',
      workerCount: 1,
      environment: { HOLDFAST_DATABASE_HOSTS: `127.0.0.1:${server.port}` },
    });
    tenant = await createTenant(system, { name: 'databases', sourcePath: system.sources });
  });
  afterAll(async () => {
    await system?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  const connection = (user: string) => ({ host: server.host, port: server.port, user, tls: { mode: 'disable' } });

  test('is backed up as the least of rights may read it', async () => {
    const config = await system.api.post('/configs', {
      businessEntityId: tenant.entityId,
      name: 'shop',
      backupType: 'database_full',
      source: { type: 'postgresql', method: 'logical', databases: ['shop'], connection: connection('holdfast_backup') },
      sourcePassword: password,
      retentionDays: 30,
      storageLocation: 'local',
      storageOptions: { type: 'local', path: join(system.repositories, 'shop') },
    });
    const accepted = await system.api.post('/jobs', { backupConfigId: config.id });
    backup = await system.api.finished(`/jobs/${accepted.id}`);
    expect(backup).toMatchObject({ status: 'completed', backupType: 'database_full', errorMessage: null });
  });

  test('is recovered into a new database', async () => {
    const accepted = await system.api.post('/recovery', {
      backupJobId: backup.id,
      recoveryType: 'full',
      targetDatabase: { connection: connection(server.user), database: 'recovered' },
      targetPassword: server.password,
    });
    expect(await system.api.finished(`/recovery/${accepted.id}`)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await shopDigest(server, 'recovered')).toBe(await shopDigest(server, 'shop'));
  });
});
