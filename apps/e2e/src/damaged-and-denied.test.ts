import { mkdir, open, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { makeDataTree, run } from './harness/data-tree.ts';
import { createTenant, listFiles, startSystem, type System, type Tenant } from './harness/system.ts';

const tinyDiskBytes = 24 * 1024 * 1024;

// Faults that only show while the work is done: each ends as a failed job with a code, and nothing half-done is left.
describe('damage, denial and full disks', () => {
  let system: System;
  let tenant: Tenant;
  let source: string;
  let backup: Row;

  beforeAll(async () => {
    system = await startSystem({ queue: 'postgresql', workerCount: 1 });
    source = join(system.sources, 'data');
    await mkdir(source);
    await makeDataTree(source, [1_500_000]);
    tenant = await createTenant(system, { name: 'damaged-and-denied', sourcePath: source });
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    backup = await system.api.finished(`/jobs/${accepted.id}`);
  });
  afterAll(() => system.stop());

  const runBackup = async (configId: string): Promise<Row> => {
    const accepted = await system.api.post('/jobs', { backupConfigId: configId });
    return system.api.finished(`/jobs/${accepted.id}`, 240_000);
  };

  test('the backup that the faults are worked on is whole', () => expect(backup).toMatchObject({ status: 'completed' }));

  test('a source behind a symlink that leaves the roots is refused by the worker', async () => {
    await symlink('/etc', join(system.sources, 'way-out'));
    const config = await tenant.createConfig({ source: { type: 'file_system', paths: [join(system.sources, 'way-out/passwd')] } });
    expect(await runBackup(config.id)).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots', attempt: 1, snapshotId: null });
  });

  test('a target behind a symlink that leaves the roots is refused by the worker', async () => {
    await symlink(system.sources, join(system.targets, 'way-out'));
    const accepted = await system.api.post('/recovery', {
      backupJobId: backup.id,
      recoveryType: 'full',
      targetLocation: join(system.targets, 'way-out/inside'),
    });
    const recovery = await system.api.finished(`/recovery/${accepted.id}`);
    expect(recovery).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots', attempt: 1 });
    expect(await readdir(system.sources)).not.toContain('inside');
  });

  test('a flipped byte in a pack is found, with the pack named, and fails a recovery', async () => {
    const pack = await tenant.largestPack();
    await flipByte(pack, Math.floor((await stat(pack)).size / 2));
    const accepted = await system.api.post(`/jobs/${backup.id}/verify`, { verificationType: 'checksum' });
    const found = await system.api.finishedIn(`/jobs/${backup.id}/verifications`, accepted.id);
    expect(found).toMatchObject({ status: 'failed', errorCode: 'verification_found_damage' });
    expect(JSON.stringify(found.details)).toContain(pack.split('/').at(-1));

    const target = join(system.targets, 'from-damaged');
    const recovery = await system.api.post('/recovery', { backupJobId: backup.id, recoveryType: 'full', targetLocation: target });
    expect((await system.api.finished(`/recovery/${recovery.id}`, 240_000)).status).toBe('failed');
    await flipByte(pack, Math.floor((await stat(pack)).size / 2));
  });

  test('a repository whose key was replaced answers with the wrong-password code', async () => {
    const other = await createTenant(system, { name: 'other-password', sourcePath: source });
    expect((await runBackup(other.configId)).status).toBe('completed');
    await rename(join(tenant.repositoryPath, 'keys'), join(tenant.repositoryPath, 'keys-aside'));
    await run('cp', ['-r', join(other.repositoryPath, 'keys'), join(tenant.repositoryPath, 'keys')]);
    expect(await runBackup(tenant.configId)).toMatchObject({ status: 'failed', errorCode: 'repository_password_wrong', attempt: 1 });
    await run('rm', ['-r', join(tenant.repositoryPath, 'keys')]);
    await rename(join(tenant.repositoryPath, 'keys-aside'), join(tenant.repositoryPath, 'keys'));
    expect((await runBackup(tenant.configId)).status).toBe('completed');
  });

  test('a damaged snapshot file is found, and does not keep the next backup from being made', async () => {
    const snapshot = join(tenant.repositoryPath, 'snapshots', backup.snapshotId ?? '');
    await flipByte(snapshot, 40);
    expect(await runBackup(tenant.configId)).toMatchObject({ status: 'completed' });
    const accepted = await system.api.post(`/jobs/${backup.id}/verify`, { verificationType: 'integrity' });
    expect(await system.api.finishedIn(`/jobs/${backup.id}/verifications`, accepted.id)).toMatchObject({ status: 'failed' });
    await flipByte(snapshot, 40);
  });

  // A full disk needs a small file system, which only root can mount.
  test.runIf(process.getuid?.() === 0)('a full disk fails the job with its code and leaves no snapshot', async () => {
    const disk = join(system.repositories, 'tiny-disk');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${tinyDiskBytes}`, 'tmpfs', disk]);
    try {
      const large = join(system.sources, 'too-large');
      await mkdir(large);
      await makeDataTree(large, [tinyDiskBytes, tinyDiskBytes]);
      const full = await createTenant(system, { name: 'full-disk', sourcePath: large, repositoryPath: join(disk, 'repository') });
      const failed = await runBackup(full.configId);
      expect(failed).toMatchObject({ status: 'failed', errorCode: 'storage_full', snapshotId: null });
      expect(await listFiles(join(full.repositoryPath, 'snapshots'))).toEqual([]);
    } finally {
      await run('umount', ['-l', disk]);
    }
  });

  test('a file that must not be read is listed, and the job says so', async () => {
    await writeFile(join(source, 'unreadable.txt'), 'secret', { mode: 0o000 });
    const job = await runBackup(tenant.configId);
    // Root reads everything: then there is nothing to warn of.
    if (process.getuid?.() === 0) expect(job.status).toBe('completed');
    else expect(job).toMatchObject({ status: 'completed_with_warnings' });
  });
});

async function flipByte(path: string, positionBytes: number): Promise<void> {
  await run('chmod', ['u+w', path]);
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, positionBytes);
  byte[0] = (byte[0] ?? 0) ^ 0x01;
  await file.write(byte, 0, 1, positionBytes);
  await file.close();
}
