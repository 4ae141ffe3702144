import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeDataTree } from './harness/data-tree.ts';
import { checkWithRestic, listSnapshots } from './harness/restic.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

const jobCount = 20;
const refillTimeoutMs = 180_000;

describe('Redis loses everything', () => {
  let system: System;
  let tenant: Tenant;

  beforeAll(async () => {
    system = await startSystem({ queue: 'redis', workerCount: 2 });
    const source = join(system.sources, 'small');
    await mkdir(source);
    await makeDataTree(source, []);
    tenant = await createTenant(system, { name: 'redis-wiped', sourcePath: source });
  });
  afterAll(() => system.stop());

  test('jobs that were waiting all complete, each once', async () => {
    await system.api.post('/service/stop', {});
    const ids: string[] = [];
    for (let i = 0; i < jobCount; i++) ids.push((await system.api.post('/jobs', { backupConfigId: tenant.configId })).id);
    await system.redis?.flushAll();
    // The pause was in Redis alone; the row brings it back before anything else.
    await expect.poll(async () => (await system.api.get('/status'))['state'], { timeout: 30_000 }).toBe('paused');
    await system.api.post('/service/start', {});

    for (const id of ids) {
      expect(await system.api.finished(`/jobs/${id}`, refillTimeoutMs)).toMatchObject({ status: 'completed', attempt: 1 });
    }
    expect(await listSnapshots(tenant)).toHaveLength(jobCount);
    await checkWithRestic(tenant);
  });

  test('the wipe while jobs run loses and doubles nothing either', async () => {
    const before = await listSnapshots(tenant);
    const ids: string[] = [];
    for (let i = 0; i < jobCount; i++) ids.push((await system.api.post('/jobs', { backupConfigId: tenant.configId })).id);
    await system.redis?.flushAll();
    for (const id of ids) expect(await system.api.finished(`/jobs/${id}`, refillTimeoutMs)).toMatchObject({ status: 'completed' });
    expect(await listSnapshots(tenant)).toHaveLength(before.length + jobCount);
  });

  test('work is accepted while Redis is down and done when it is back', async () => {
    await system.redis?.kill();
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    expect(accepted.status).toBe('queued');
    const health = await fetch(`${system.api.baseUrl}/api/backup/health`);
    expect(health.status).toBe(503);
    await system.redis?.start();
    expect(await system.api.finished(`/jobs/${accepted.id}`, refillTimeoutMs)).toMatchObject({ status: 'completed' });
  });
});
