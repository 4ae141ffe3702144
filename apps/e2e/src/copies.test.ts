import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openFaultyLine, type FaultyLine } from '@holdfast/storage/testing/faulty-line';
import { startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeTree, makeDataTree, run } from './harness/data-tree.ts';
import type { Row } from './harness/api-client.ts';
import { createTenant, startSystem, type System, type Tenant } from './harness/system.ts';

const outputLimitBytes = 16 * 1024 * 1024;

// Three, two, one: a folder is copied to an S3 server over a line that is cut, read there by stock restic, and recovered from when the
// folder is gone.
describe('a copy at an S3 server', () => {
  let system: System;
  let tenant: Tenant;
  let place: RemotePlace;
  let line: FaultyLine;
  let source: string;
  let sourceId: string;
  let targetId: string;
  let backup: Row;
  const password = randomBytes(16).toString('hex');

  beforeAll(async () => {
    system = await startSystem({ queue: 'postgresql', workerCount: 2, environment: { HOLDFAST_STORAGE_HOSTS: '127.0.0.1' } });
    source = join(system.sources, 'documents');
    await mkdir(source);
    await makeDataTree(source, [3_000_000, 900_000]);
    tenant = await createTenant(system, { name: 'copied', sourcePath: source });
    place = await startRemotePlace('s3');
    line = await openFaultyLine(place);
    backup = await backUp();
    sourceId = String((await system.api.get(`/configs/${tenant.configId}`))['repositoryId']);
  });
  afterAll(async () => {
    await line?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
    await system?.stop();
  });

  const backUp = async (): Promise<Row> => {
    const accepted = await system.api.post('/jobs', { backupConfigId: tenant.configId });
    return system.api.finished(`/jobs/${accepted.id}`);
  };
  const second = (more: object = {}) => ({
    storageLocation: 's3',
    storageOptions: place.options(line.port),
    storageCredentials: place.credentials(line.port),
    encryptionKey: password,
    ...more,
  });
  const copied = async (body: object): Promise<Row> => {
    const accepted = await system.api.post(`/repositories/${sourceId}/copies`, body);
    return system.api.finished(`/copies/${accepted.id}`);
  };

  /** Stock restic at the second place; its standard output. */
  const restic = async (...args: string[]): Promise<string> => {
    const { endpoint, bucket, prefix } = Object(place.options(place.port));
    const { accessKeyId, secretAccessKey } = Object(place.credentials());
    const env = { ...process.env, RESTIC_PASSWORD: password, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
    // Its locks are in signed pieces, which this server does not take.
    const where = ['--no-cache', '--no-lock', '-r', `s3:${endpoint}/${bucket}/${prefix}`, '-o', 's3.bucket-lookup=path'];
    const { stdout } = await run(process.env['RESTIC_BIN'] ?? 'restic', [...where, ...args], { env, maxBuffer: outputLimitBytes });
    return stdout;
  };

  test('is made over a line that is cut, and verified', async () => {
    line.strike('cut', 'up', 1_000_000);
    const job = await copied(second());
    expect(job).toMatchObject({ status: 'completed', attempt: 1, errorMessage: null });
    expect(line.counts.cuts).toBe(1);
    line.heal();
    expect(job.details).toMatchObject({ snapshotsCopied: 1, cutsAlike: true, verification: { damageCount: 0, snapshotsChecked: 1 } });
    targetId = String(job['targetRepositoryId']);
    const { items } = await system.api.get(`/jobs/${backup.id}/copies`);
    expect(items).toMatchObject([{ repositoryId: targetId, verifiedAt: expect.any(String) }]);
    expect(await system.api.get(`/repositories/${targetId}`)).toMatchObject({ storageLocation: 's3', state: 'ready', snapshotCount: 1 });
  });

  test('is for restic what it is for us: whole, with its original, and with every byte', async () => {
    await restic('check', '--read-data');
    const snapshots = JSON.parse(await restic('snapshots', '--json'));
    expect(snapshots).toMatchObject([{ original: backup.snapshotId, tags: expect.arrayContaining([`job:${backup.id}`]) }]);
    const target = join(system.targets, 'by restic');
    await restic('restore', 'latest', '--target', target);
    expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
  });

  test('of what is new sends only that', async () => {
    await writeFile(join(source, 'new.bin'), randomBytes(50_000));
    const newer = await backUp();
    const job = await copied({ targetRepositoryId: targetId });
    expect(job).toMatchObject({ status: 'completed', details: { snapshotsCopied: 1, snapshotsAlreadyThere: 1 } });
    expect(job.details['bytesCopied']).toBeLessThan(120_000);
    await restic('check', '--read-data');
    backup = newer;
  });

  test('finds what a direct backup to the second place would send again', async () => {
    const config = await tenant.createConfig({ name: 'direct', ...second() });
    const accepted = await system.api.post('/jobs', { backupConfigId: config.id });
    const job = await system.api.finished(`/jobs/${accepted.id}`);
    expect(job).toMatchObject({ status: 'completed', metadata: { summary: { dataBlobs: 0 } } });
  });

  test('gives everything back when the first place is lost', async () => {
    await rm(tenant.repositoryPath, { recursive: true });
    const recover = async (name: string, more: object = {}) => {
      const body = { backupJobId: backup.id, recoveryType: 'full', targetLocation: join(system.targets, name), ...more };
      const accepted = await system.api.post('/recovery', body);
      return system.api.finished(`/recovery/${accepted.id}`);
    };
    const lost = await recover('lost');
    expect(lost).toMatchObject({ status: 'failed', errorCode: 'repository_missing' });
    expect(lost.errorMessage).toContain(targetId);
    expect(await recover('from the copy', { fromRepositoryId: targetId })).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await describeTree(join(system.targets, 'from the copy', source))).toEqual(await describeTree(source));
    const nowhere = {
      backupJobId: backup.id,
      recoveryType: 'full',
      targetLocation: join(system.targets, 'x'),
      fromRepositoryId: 'cnothere',
    };
    const refused = await system.api.send('POST', '/recovery', nowhere);
    expect(refused.body).toMatchObject({ code: 'backup_not_usable', errors: [{ field: 'fromRepositoryId' }] });
  });

  test('is looked into when the first place is lost', async () => {
    const ask = (what: string, query: Record<string, string>): Promise<Response> =>
      fetch(`${system.api.baseUrl}/api/backup/jobs/${backup.id}/${what}?${new URLSearchParams(query).toString()}`, {
        headers: { authorization: `Bearer ${system.api.token}` },
      });
    const fromCopy = { fromRepositoryId: targetId };
    const listed = await ask('files', { path: source, ...fromCopy });
    const { items } = (await listed.json()) as { items: Row[] };
    expect(items.map(({ path }) => path)).toContain(join(source, 'new.bin'));
    const bytes = await readFile(join(source, 'new.bin'));
    const path = join(source, 'new.bin');
    const whole = await ask('files/content', { path, ...fromCopy });
    expect([whole.status, Buffer.from(await whole.arrayBuffer()).equals(bytes)]).toEqual([200, true]);
    const found = await ask('files', { path: '/', name: 'new.bin', ...fromCopy });
    expect(await found.json()).toMatchObject({ items: [{ path }] });

    const target = join(system.targets, 'archive of the copy');
    await mkdir(target);
    const archive = await ask('archive', { paths: source, ...fromCopy });
    expect(archive.status).toBe(200);
    await writeFile(join(target, 'a.tar'), Buffer.from(await archive.arrayBuffer()));
    await run('tar', ['-xpf', 'a.tar'], { cwd: target });
    const unpacked = join(target, source, 'new.bin');
    expect((await readFile(unpacked)).equals(bytes)).toBe(true);

    // Of another tenant, whose repository holds no copy of it, and of nobody.
    const other = await createTenant(system, { name: 'other', sourcePath: source });
    const otherId = String((await system.api.get(`/configs/${other.configId}`))['repositoryId']);
    for (const fromRepositoryId of [otherId, 'cnothere']) {
      for (const what of ['files', 'files/content', 'archive']) {
        const refused = await ask(what, { ...(what === 'archive' ? { paths: source } : { path }), fromRepositoryId });
        expect(refused.status, what).toBe(409);
        expect(await refused.json()).toMatchObject({ code: 'backup_not_usable', errors: [{ field: 'fromRepositoryId' }] });
      }
    }
    const own = await ask('files/content', { path });
    expect(own.status, 'the first place').toBeGreaterThanOrEqual(400);
    expect(Buffer.from(await own.arrayBuffer()).equals(bytes)).toBe(false);
  });
});
