import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { describeTree, makeDataTree } from './harness/data-tree.ts';
import { checkWithRestic, restic } from './harness/restic.ts';
import { createTenant, queueKinds, startSystem, type System, type Tenant } from './harness/system.ts';

// The main job from config to cleanup, over the real API, with workers in processes of their own, on each queue backend.
describe.each(queueKinds)('main flow on %s', (queue) => {
  let system: System;
  let tenant: Tenant;
  let source: string;
  let backup: Row;

  beforeAll(async () => {
    system = await startSystem({ queue, workerCount: 2 });
    source = join(system.sources, 'documents');
    await mkdir(source);
    await makeDataTree(source, [3_000_000, 900_000]);
    tenant = await createTenant(system, { name: 'main-flow', sourcePath: source });
  });
  afterAll(() => system.stop());

  test('a backup is made by a worker and recorded', async () => {
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    expect(accepted.status).toBe('queued');
    backup = await system.api.finished(`/jobs/${accepted.id}`);
    expect(backup).toMatchObject({ status: 'completed', attempt: 1, backupType: 'file_system', errorMessage: null });
    expect(backup.snapshotId).toMatch(/^[0-9a-f]{64}$/u);
    expect(backup['fileSize']).toBeGreaterThan(3_900_000);
  });

  test.each(['checksum', 'integrity', 'restore_test'])('%s verification passes', async (verificationType) => {
    const accepted = await system.api.post(`/jobs/${backup.id}/verify`, { verificationType });
    const verification = await system.api.finishedIn(`/jobs/${backup.id}/verifications`, accepted.id);
    expect(verification).toMatchObject({ status: 'completed', errorMessage: null });
  });

  test('a full recovery brings back every byte, mode, time and link', async () => {
    const target = join(system.targets, 'full');
    const accepted = await system.api.post('/recovery', { backupJobId: backup.id, recoveryType: 'full', targetLocation: target });
    expect(await system.api.finished(`/recovery/${accepted.id}`)).toMatchObject({ status: 'completed' });
    expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
  });

  test('a selective recovery brings back what was named and nothing else', async () => {
    const target = join(system.targets, 'selective');
    const accepted = await system.api.post('/recovery', {
      backupJobId: backup.id,
      recoveryType: 'selective',
      targetLocation: target,
      paths: [join(source, 'docs/deep')],
    });
    expect(await system.api.finished(`/recovery/${accepted.id}`)).toMatchObject({ status: 'completed' });
    expect(await describeTree(join(target, source, 'docs/deep'))).toEqual(await describeTree(join(source, 'docs/deep')));
    expect((await describeTree(join(target, source))).filter((line) => line.includes(' file '))).toHaveLength(1);
  });

  test('a recovery refuses a folder that holds something, and overwrites when told to', async () => {
    const target = join(system.targets, 'occupied');
    await mkdir(join(target, source), { recursive: true });
    await writeFile(join(target, source, 'script.sh'), 'precious');
    const request = { backupJobId: backup.id, recoveryType: 'full', targetLocation: target };
    const refused = await system.api.post('/recovery', request);
    expect(await system.api.finished(`/recovery/${refused.id}`)).toMatchObject({
      status: 'failed',
      errorCode: 'target_not_empty',
      attempt: 1,
    });
    expect((await describeTree(target)).filter((line) => line.includes(' file '))).toHaveLength(1);
    const allowed = await system.api.post('/recovery', { ...request, overwrite: true });
    expect(await system.api.finished(`/recovery/${allowed.id}`)).toMatchObject({ status: 'completed' });
    expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
  });

  test('stock restic checks and restores the repository', async () => {
    await checkWithRestic(tenant);
    const target = join(system.targets, 'by-restic');
    await restic(tenant, 'restore', 'latest', '--target', target);
    expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
  });

  test('a second backup adds only what changed, and cleanup keeps what retention keeps', async () => {
    await writeFile(join(source, 'docs/new.txt'), 'one more file\n');
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    const second = await system.api.finished(`/jobs/${accepted.id}`);
    expect(second.status).toBe('completed');
    expect(second.snapshotId).not.toBe(backup.snapshotId);
    await rm(join(source, 'docs/new.txt'));

    const cleanups = await system.api.post('/maintenance/cleanup', { businessEntityId: tenant.entityId });
    expect(cleanups.items).toHaveLength(1);
    const cleanup = await system.api.finishedIn('/maintenance/cleanup', cleanups.items[0]?.id ?? '');
    expect(cleanup).toMatchObject({ status: 'completed', errorMessage: null });
    expect((await system.api.get(`/jobs/${backup.id}`)).snapshotId).toBe(backup.snapshotId);
  });

  test('a bad path in the source fails the job with its code at the first attempt', async () => {
    const config = await tenant.createConfig({ source: { type: 'file_system', paths: [join(system.sources, 'not-there')] } });
    const accepted = await system.api.post('/jobs', { backupConfigId: config.id });
    expect(await system.api.finished(`/jobs/${accepted.id}`)).toMatchObject({ status: 'failed', errorCode: 'path_not_found', attempt: 1 });
  });

  test('metrics, status and health tell of it', async () => {
    const health = await fetch(`${system.api.baseUrl}/api/backup/health`);
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({ database: { state: 'ok' }, queue: { state: 'ok' }, storage: { state: 'ok' } });
    expect(JSON.stringify(await system.api.get('/status'))).toContain(queue);
    expect(JSON.stringify(await system.api.get('/metrics/backup'))).toContain('completed');
    expect(JSON.stringify(await system.api.get('/metrics/recovery'))).toContain('completed');
  });
});
