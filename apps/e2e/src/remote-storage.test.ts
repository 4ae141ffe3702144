import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openFaultyLine, type FaultyLine } from '@holdfast/storage/testing/faulty-line';
import { remoteKinds, startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeTree, makeDataTree } from './harness/data-tree.ts';
import { startSystem, type System } from './harness/system.ts';

// A server of each kind from config to recovery, over the real API, with workers in processes of their own.
describe('repositories at a server', () => {
  let system: System;
  let source: string;

  beforeAll(async () => {
    system = await startSystem({ queue: 'postgresql', workerCount: 2, environment: { HOLDFAST_STORAGE_HOSTS: '127.0.0.1' } });
    source = join(system.sources, 'documents');
    await mkdir(source);
    await makeDataTree(source, [3_000_000, 900_000]);
  });
  afterAll(() => system?.stop());

  describe.each(remoteKinds)('%s', (kind) => {
    let place: RemotePlace;
    let line: FaultyLine;
    let entityId: string;
    let configId: string;
    let snapshotOf: string;
    beforeAll(async () => {
      place = await startRemotePlace(kind);
      line = await openFaultyLine(place);
      entityId = (await system.api.post('/entities', { name: `at ${kind}` })).id;
    });
    afterAll(async () => {
      await line?.[Symbol.asyncDispose]();
      await place?.[Symbol.asyncDispose]();
    });

    const sent = (storageCredentials: object) => ({
      businessEntityId: entityId,
      storageOptions: place.options(line.port),
      storageCredentials,
    });

    test('is tried before it is relied on', async () => {
      const trial = await system.api.post('/repositories/test', sent(place.credentials(line.port)));
      expect(trial).toMatchObject({ ok: true, holdsRepository: false });
      const refused = await system.api.post('/repositories/test', sent(place.wrongCredentials));
      expect(refused['ok'], JSON.stringify(refused)).toBe(false);
      expect(refused['steps']).toContainEqual(expect.objectContaining({ ok: false, errorCode: 'storage_denied' }));
    });

    test('takes a backup over a line that is cut', async () => {
      const config = await system.api.post('/configs', {
        ...sent(place.credentials(line.port)),
        name: 'documents',
        backupType: 'file_system',
        source: { type: 'file_system', paths: [source] },
        retentionDays: 30,
        storageLocation: kind,
      });
      configId = config.id;
      line.strike('cut', 'up', 1_000_000);
      const accepted = await system.api.post('/jobs', { backupConfigId: configId });
      const job = await system.api.finished(`/jobs/${accepted.id}`);
      expect(job).toMatchObject({ status: 'completed', attempt: 1, errorMessage: null });
      // The bytes of files go over connections of their own with FTP, past this line.
      expect(line.counts.cuts).toBe(kind === 'ftp' ? 0 : 1);
      line.heal();
      snapshotOf = job.id;
    });

    test('is verified', async () => {
      for (const verificationType of ['integrity', 'restore_test']) {
        const accepted = await system.api.post(`/jobs/${snapshotOf}/verify`, { verificationType });
        const verification = await system.api.finishedIn(`/jobs/${snapshotOf}/verifications`, accepted.id);
        expect(verification).toMatchObject({ status: 'completed', errorMessage: null });
      }
    });

    test('gives back every byte, mode, time and link', async () => {
      const target = join(system.targets, kind);
      const accepted = await system.api.post('/recovery', { backupJobId: snapshotOf, recoveryType: 'full', targetLocation: target });
      expect(await system.api.finished(`/recovery/${accepted.id}`)).toMatchObject({ status: 'completed' });
      expect(await describeTree(join(target, source))).toEqual(await describeTree(source));
    });

    test('refuses a wrong key for good, and goes on with the right one', async () => {
      await writeFile(join(source, `changed for ${kind}`), kind);
      await system.api.put(`/configs/${configId}`, { storageCredentials: place.wrongCredentials });
      const refused = await system.api.post('/jobs', { backupConfigId: configId });
      expect(await system.api.finished(`/jobs/${refused.id}`)).toMatchObject({ status: 'failed', errorCode: 'storage_denied', attempt: 1 });
      await system.api.put(`/configs/${configId}`, { storageCredentials: place.credentials(line.port) });
      const accepted = await system.api.post('/jobs', { backupConfigId: configId });
      expect(await system.api.finished(`/jobs/${accepted.id}`)).toMatchObject({ status: 'completed', errorMessage: null });
    });

    test('is cleaned up', async () => {
      const { items } = await system.api.post('/maintenance/cleanup', { businessEntityId: entityId });
      const id = items[0]?.id ?? '';
      expect(await system.api.finished(`/maintenance/cleanup/${id}`)).toMatchObject({ status: 'completed', errorMessage: null });
    });
  });
});
