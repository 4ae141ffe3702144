import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeTree, makeDataTree } from './harness/data-tree.ts';
import { eventually } from './harness/eventually.ts';
import { checkWithRestic, listSnapshots } from './harness/restic.ts';
import { createTenant, queueKinds, startSystem, type System, type Tenant } from './harness/system.ts';

const sourceFiles = Array.from({ length: 12 }, () => 32 * 1024 * 1024); // long enough at work to be caught in the middle
const takeoverTimeoutMs = 150_000;

// kill -9 takes the worker in mid-backup: nothing is cleaned up by it, everything has to be picked up by somebody else.
describe.each(queueKinds)('a worker killed in mid-backup, on %s', (queue) => {
  let system: System;
  let tenant: Tenant;
  let source: string;

  beforeAll(async () => {
    system = await startSystem({ queue, workerCount: 2 });
    source = join(system.sources, 'large');
    await mkdir(source);
    await makeDataTree(source, sourceFiles);
    tenant = await createTenant(system, { name: 'worker-killed', sourcePath: source });
  });
  afterAll(() => system.stop());

  test('another worker finishes the job, with one snapshot and a clean repository', async () => {
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    const victim = await eventually('a worker at work with packs written', () => system.workerAtWork('backup', accepted.id), 60_000);
    await eventually('packs in the repository', () => tenant.hasPacks(), 60_000);
    expect((await system.api.get(`/jobs/${accepted.id}`)).status).toBe('running');
    await victim.end('SIGKILL');

    const finished = await system.api.finished(`/jobs/${accepted.id}`, takeoverTimeoutMs);
    expect(finished).toMatchObject({ status: 'completed', attempt: 2 });
    expect(await listSnapshots(tenant)).toHaveLength(1);
    await checkWithRestic(tenant);

    const target = join(system.targets, 'after-kill');
    const recovery = await system.api.post('/recovery', { backupJobId: accepted.id, recoveryType: 'full', targetLocation: target });
    expect(await system.api.finished(`/recovery/${recovery.id}`)).toMatchObject({ status: 'completed' });
    expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
  });
});
