import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startSftpServer, type SftpServer } from '@holdfast/storage/testing/sftp-server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeTree, makeDataTree, run } from './harness/data-tree.ts';
import { startSystem, type System } from './harness/system.ts';

// What stock restic wrote to an SSH server, taken over and recovered through the real API by a worker in a process of its own.
describe('a repository of stock restic at an SSH server', () => {
  const password = 'of stock restic';
  let server: SftpServer;
  let system: System;
  let source: string;
  let restic: (...args: string[]) => Promise<string>;
  let place: object;
  let entityId: string;
  let repositoryId: string;

  beforeAll(async () => {
    server = await startSftpServer();
    system = await startSystem({ queue: 'postgresql', workerCount: 1, environment: { HOLDFAST_STORAGE_HOSTS: '127.0.0.1' } });
    source = join(system.sources, 'documents');
    await mkdir(source);
    await makeDataTree(source, [900_000]);
    const base = await mkdtemp(join(server.folder, 'stock-'));
    const path = join(base, 'repository');
    const sftp = await sftpCommand(server, base);
    restic = async (...args) => {
      const options = ['--no-cache', '-o', `sftp.command=${sftp}`, '-r', `sftp:${server.user}@127.0.0.1:${path}`];
      const env = { ...process.env, RESTIC_PASSWORD: password };
      return (await run(process.env['RESTIC_BIN'] ?? 'restic', [...options, ...args], { env })).stdout;
    };
    await restic('init');
    await restic('backup', '--host', 'files', '--tag', 'weekly', source);
    await writeFile(join(source, 'added later'), 'more');
    await restic('backup', '--host', 'files', source);
    entityId = (await system.api.post('/entities', { name: 'shop' })).id;
    const storageOptions = server.options({ path });
    place = { businessEntityId: entityId, storageLocation: 'sftp', storageOptions, storageCredentials: server.credentials };
  });
  afterAll(async () => {
    await system?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  const adopt = async (given: string) => {
    const accepted = await system.api.post<{ adoption: { id: string; repositoryId: string } }>('/repositories/adopt', {
      ...place,
      password: given,
    });
    repositoryId = accepted.adoption.repositoryId;
    return system.api.finished(`/adoptions/${accepted.adoption.id}`);
  };
  const snapshots = async () => (await system.api.get(`/repositories/${repositoryId}/snapshots`)).items;

  test('is refused with a wrong password, and adopted with the right one', async () => {
    expect(await adopt('guessed')).toMatchObject({ status: 'failed', errorCode: 'repository_password_wrong', attempt: 1 });
    expect(await adopt(password)).toMatchObject({ status: 'completed', details: { snapshotCount: 2, adoptedCount: 2 } });
    expect(await snapshots()).toMatchObject([
      { hostname: 'files', paths: [source], tags: [], adopted: true },
      { hostname: 'files', paths: [source], tags: ['weekly'], adopted: true },
    ]);
    expect(await system.api.get(`/repositories/${repositoryId}`)).toMatchObject({ state: 'ready', snapshotCount: 2 });
  });

  test('is verified, and gives back every byte, mode, time and link', async () => {
    const [newest] = await snapshots();
    const backupJobId = String(newest?.['backupJobId']);
    const accepted = await system.api.post(`/jobs/${backupJobId}/verify`, { verificationType: 'restore_test' });
    expect(await system.api.finishedIn(`/jobs/${backupJobId}/verifications`, accepted.id)).toMatchObject({ status: 'completed' });
    const targetLocation = join(system.targets, 'adopted');
    const recovery = await system.api.post('/recovery', { backupJobId, recoveryType: 'full', targetLocation });
    expect(await system.api.finished(`/recovery/${recovery.id}`)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await describeTree(join(targetLocation, source))).toEqual(await describeTree(source));
  });

  test('keeps all its snapshots through a cleanup, and shows what restic does to it', async () => {
    const before = await restic('snapshots', '--json');
    const { items } = await system.api.post('/maintenance/cleanup', { repositoryId });
    expect(await system.api.finished(`/maintenance/cleanup/${items[0]?.id}`)).toMatchObject({
      status: 'completed',
      details: { snapshotsForgotten: 0 },
    });
    expect(await restic('snapshots', '--json')).toBe(before);
    await restic('backup', '--host', 'files', source);
    await restic('forget', (await snapshots())[1]?.snapshotId ?? '');
    const { adoption } = await system.api.post<{ adoption: { id: string } }>(`/repositories/${repositoryId}/adopt`, {});
    expect(await system.api.finished(`/adoptions/${adoption.id}`)).toMatchObject({
      status: 'completed',
      details: { snapshotCount: 2, adoptedCount: 1, goneCount: 1 },
    });
  });

  test('is gone on with by its config, and restic finds nothing wrong', async () => {
    const [newest] = await snapshots();
    const configId = String(newest?.['backupConfigId']);
    expect(await system.api.get(`/configs/${configId}`)).toMatchObject({
      isActive: false,
      retentionDays: null,
      source: { paths: [source] },
    });
    await system.api.put(`/configs/${configId}`, { isActive: true, retentionDays: 30 });
    const { id } = await system.api.post('/jobs', { backupConfigId: configId });
    expect(await system.api.finished(`/jobs/${id}`)).toMatchObject({
      status: 'completed',
      metadata: { parentId: newest?.snapshotId, summary: { filesNew: 0, filesChanged: 0 } },
    });
    await restic('check', '--read-data');
  });
});

/** The command by which restic reaches the server: nothing of this machine's own ssh settings has a say in it. */
async function sftpCommand(server: SftpServer, base: string): Promise<string> {
  const knownHosts = join(base, 'known_hosts');
  await writeFile(knownHosts, `[127.0.0.1]:${String(server.port)} ${server.hostKey}\n`);
  const config = join(base, 'ssh_config');
  const lines = [
    'Host *',
    `IdentityFile ${server.privateKeyFile}`,
    'IdentitiesOnly yes',
    `UserKnownHostsFile ${knownHosts}`,
    'StrictHostKeyChecking yes',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  return `ssh -F ${config} -p ${String(server.port)} ${server.user}@127.0.0.1 -s sftp`;
}
