import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBackupConfig, type BackupConfigInput } from '@holdfast/database/backup-configs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { encodeFacts, type RecoveryFacts } from '@holdfast/policy/recovery-facts';
import { backupResult, configBody, endRun, masterKey, startTestApi, type TestApi } from '../testing/test-api.ts';

interface ProblemBody {
  readonly code: string;
  readonly detail: string;
  readonly errors?: { field: string; message: string }[];
}

const segmentSizeBytes = 16 * 1024 * 1024;
const cluster = { systemIdentifier: '7438', majorVersion: 18, segmentSizeBytes };
const us = (text: string): bigint => BigInt(Date.parse(text)) * 1000n;
const baseFacts: RecoveryFacts = {
  kind: 'base',
  ...cluster,
  superuser: 'postgres',
  timeline: 1,
  startLsn: 0x2000028n,
  endLsn: 0x2000158n,
  endTime: us('2026-05-01T01:00:00Z'),
  parentJobId: null,
  checkedPageCount: 9,
  badPageCount: 0,
  badPages: [],
};
const walFacts: RecoveryFacts = {
  kind: 'wal',
  ...cluster,
  pieces: [{ timeline: 1, fromLsn: 0x2000000n, toLsn: 0x4b1c2e8n, lastCommit: us('2026-05-01T03:00:00Z'), complete: null }],
  histories: [],
  restorePoints: [{ name: 'before the change', timeline: 1, lsn: 0x3000100n }],
};

let api: TestApi;
let entityId: string;
let ids: Record<'base' | 'wal' | 'baseJob' | 'walJob' | 'files', string>;

beforeAll(async () => {
  api = await startTestApi();
  entityId = await api.addEntity('clusters');
  const config = async (name: string, more: Partial<BackupConfigInput>): Promise<string> => {
    const { retentionDays, storageOptions } = configBody(entityId);
    const place = { storageLocation: 'local', storageOptions, locationKey: `local:${storageOptions.path}`, retentionDays } as const;
    const input: BackupConfigInput = { businessEntityId: entityId, name, backupType: 'database_full', source: {}, ...place, ...more };
    return (await inTransaction(api.database, (tx) => createBackupConfig(tx, '*', input, parseMasterKey(masterKey)))).id;
  };
  const backup = async (backupConfigId: string, facts?: RecoveryFacts): Promise<string> => {
    const { id } = (await api.send('POST', '/jobs', { backupConfigId })).json<{ id: string }>();
    const metadata = facts === undefined ? {} : { postgresql: encodeFacts(facts) };
    await endRun(api.database, 'backup', id, { status: 'completed', result: { ...backupResult, metadata } });
    return id;
  };
  const connection = { host: 'db.internal', user: 'replicator' };
  const base = await config('base', { source: { type: 'postgresql', method: 'physical', connection } });
  const wal = await config('wal', {
    backupType: 'database_incremental',
    source: { type: 'postgresql_wal', method: 'wal', baseConfigId: base },
  });
  await backup(base, { ...baseFacts, systemIdentifier: '1', endTime: us('2026-04-01T01:00:00Z') });
  const baseJob = await backup(base, baseFacts);
  const walJob = await backup(wal, walFacts);
  const filesConfig = (await api.send('POST', '/configs', configBody(entityId))).json<{ id: string }>().id;
  ids = { base, wal, baseJob, walJob, files: await backup(filesConfig) };
});
afterAll(() => api?.[Symbol.asyncDispose]());

describe('the windows of a config', () => {
  test.each(['base', 'wal'] as const)('are the same for the %s config', async (name) => {
    const answer = await api.send('GET', `/configs/${ids[name]}/recovery-window`, undefined, { token: api.token('viewer', [entityId]) });
    expect(answer.statusCode, answer.body).toBe(200);
    const whole = { from: '2026-05-01T01:00:00.000000Z', to: '2026-05-01T03:00:00.000000Z', fromLsn: '0/2000158', toLsn: '0/4B1C2E8' };
    expect(answer.json()).toMatchObject({
      baseConfigId: ids.base,
      systemIdentifier: '7438',
      windows: [{ timeline: 1, ...whole, parts: [whole], gaps: [] }],
      timelines: [1],
      restorePoints: [{ name: 'before the change', timeline: 1, lsn: '0/3000100' }],
      leftOut: [{ systemIdentifier: '1' }],
    });
  });

  test('are not shown to others, and not there for files', async () => {
    const other = api.token('viewer', [await api.addEntity('others')]);
    expect((await api.send('GET', `/configs/${ids.base}/recovery-window`, undefined, { token: other })).statusCode).toBe(404);
    const files = await api.database.client.backupJob.findUniqueOrThrow({ where: { id: ids.files } });
    const answer = await api.send('GET', `/configs/${files.backupConfigId}/recovery-window`);
    expect(answer.json<ProblemBody>().code).toBe('type_not_supported');
  });
});

describe('a recovery of a physical backup', () => {
  const recover = (more: object) =>
    api.send('POST', '/recovery', { backupJobId: ids.baseJob, targetLocation: '/srv/restored/pg', execute: false, ...more });
  const toPoint = (pointInTime: object, more: object = {}) => recover({ recoveryType: 'point_in_time', pointInTime, ...more });

  test('is accepted with a point in time, start and tablespaces', async () => {
    const more = { start: true, tablespaces: { 16_384: '/srv/restored/space' } };
    for (const point of [
      { time: '2026-05-01T04:00:00+02:00', inclusive: false },
      { lsn: '0/3000000' },
      { name: 'before the change' },
      { latest: true },
    ]) {
      const answer = await toPoint(point, more);
      expect(answer.statusCode, answer.body).toBe(201);
      expect(answer.json()).toMatchObject({ options: { pointInTime: point, ...more } });
    }
    for (const backupJobId of [ids.baseJob, ids.walJob])
      expect((await recover({ recoveryType: 'full', backupJobId })).statusCode).toBe(201);
  });

  test('to what is not covered is refused with the windows, and no row is made', async () => {
    const before = await api.database.client.recoveryJob.count();
    for (const point of [{ time: '2026-05-01T03:00:01Z' }, { lsn: '0/1000000' }, { name: 'never' }, { latest: true, timeline: 7 }]) {
      const answer = await toPoint(point);
      expect(answer.statusCode, answer.body).toBe(422);
      expect(answer.json<ProblemBody>()).toMatchObject({ code: 'postgresql_target_uncovered' });
      expect(answer.json<ProblemBody>().detail).toContain('2026-05-01T01:00:00.000000Z to 2026-05-01T03:00:00.000000Z');
    }
    expect(await api.database.client.recoveryJob.count()).toBe(before);
  });

  test.each<[string, object, string, string]>([
    ['two points', { recoveryType: 'point_in_time', pointInTime: { latest: true, name: 'x' } }, 'request_invalid', 'pointInTime'],
    [
      'a time without a zone',
      { recoveryType: 'point_in_time', pointInTime: { time: '2026-05-01T03:00:00' } },
      'request_invalid',
      'pointInTime.time',
    ],
    ['no LSN', { recoveryType: 'point_in_time', pointInTime: { lsn: 'here' } }, 'request_invalid', 'pointInTime.lsn'],
    ['a point for full', { recoveryType: 'full', pointInTime: { latest: true } }, 'request_invalid', 'pointInTime'],
    ['overwriting', { recoveryType: 'full', overwrite: true }, 'request_invalid', 'overwrite'],
    ['a start of files', { recoveryType: 'selective', paths: ['/data/PG_VERSION'], start: true }, 'request_invalid', 'start'],
    ['a tablespace outside', { recoveryType: 'full', tablespaces: { 16_384: '/etc' } }, 'path_outside_roots', 'tablespaces.16384'],
    [
      'tables',
      {
        recoveryType: 'selective',
        targetLocation: undefined,
        targetDatabase: { connection: { host: 'db.internal', user: 'a' }, database: 'shop', tables: ['public.orders'] },
      },
      'request_invalid',
      'targetDatabase',
    ],
  ])('%s: refused, and the field is named', async (_, more, code, field) => {
    const problem = (await recover(more)).json<ProblemBody>();
    expect(problem.code, problem.detail).toBe(code);
    expect(problem.errors?.map((error) => error.field)).toEqual([field]);
  });

  test('of single files stays one of files', async () => {
    expect((await recover({ recoveryType: 'selective', paths: ['/data/PG_VERSION'] })).statusCode).toBe(201);
  });

  test('a restore test takes assertions, and one of files does not', async () => {
    const assertions = [{ name: 'rows', database: 'postgres', sql: 'SELECT 1', expected: 1 }];
    const body = { verificationType: 'restore_test', assertions };
    const taken = await api.send('POST', `/jobs/${ids.baseJob}/verify`, body);
    expect(taken.statusCode, taken.body).toBe(202);
    expect(taken.json()).toMatchObject({ options: { assertions } });
    const refused = (await api.send('POST', `/jobs/${ids.files}/verify`, body)).json<ProblemBody>();
    expect(refused).toMatchObject({ code: 'request_invalid', errors: [{ field: 'assertions' }] });
  });
});
