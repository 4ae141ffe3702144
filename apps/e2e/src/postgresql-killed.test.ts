import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeDataTree } from './harness/data-tree.ts';
import { checkWithRestic, listSnapshots } from './harness/restic.ts';
import { createTenant, queueKinds, startSystem, type System, type Tenant } from './harness/system.ts';

const jobCount = 30;
const killCount = 3; // it comes back by itself each time
const betweenKillsMs = 800;
const returnTimeoutMs = 240_000;

describe.each(queueKinds)('PostgreSQL killed under load, on %s', (queue) => {
  let system: System;
  let tenant: Tenant;

  beforeAll(async () => {
    system = await startSystem({ queue, workerCount: 2 });
    const source = join(system.sources, 'some');
    await mkdir(source);
    await makeDataTree(source, [2_000_000]);
    tenant = await createTenant(system, { name: 'postgresql-killed', sourcePath: source });
  });
  afterAll(() => system.stop());

  test('every accepted job completes once; no accepted row is lost', async () => {
    const accepted: string[] = [];
    const refused: number[] = [];
    const submitting = (async () => {
      for (let i = 0; i < jobCount; i++) {
        const answer = await system.api.send('POST', '/jobs', { backupConfigId: tenant.configId }, { 'idempotency-key': `load-${i}` });
        if (answer.status < 300) accepted.push(answer.body.id);
        else refused.push(answer.status);
        await sleep(50);
      }
    })();
    await sleep(700);
    for (let i = 0; i < killCount; i++) {
      await system.postgresql.kill();
      await sleep(betweenKillsMs);
    }
    await submitting;

    expect(accepted.length).toBeGreaterThan(0);
    expect(refused.every((status) => status === 503)).toBe(true);
    // What was refused is sent again with the same key: a commit whose answer was lost gives its own row back, never a second one.
    const rows = new Set<string>(accepted);
    for (let i = 0; i < jobCount; i++) {
      const row = await system.api.post('/jobs', { backupConfigId: tenant.configId }, { 'idempotency-key': `load-${i}` });
      rows.add(row.id);
    }
    expect(rows.size).toBe(jobCount);
    for (const id of rows) expect(await system.api.finished(`/jobs/${id}`, returnTimeoutMs)).toMatchObject({ status: 'completed' });
    expect(await listSnapshots(tenant)).toHaveLength(jobCount);
    await checkWithRestic(tenant);
  });
});
