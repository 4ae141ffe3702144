import { claimRun } from '@holdfast/database/runs';
import { systemClock } from '@holdfast/engine/clock';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endStalledRun } from './end-stalled-run.ts';
import { createLogger } from './logger.ts';
import { openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

let fixture: WorkerFixture;
beforeAll(async () => {
  fixture = await openWorkerFixture('postgresql');
});
afterAll(() => fixture[Symbol.asyncDispose]());

test('the run of a job that killed its workers too often fails; other failures of jobs change nothing', async () => {
  const database = fixture.database.db;
  const logger = createLogger({ logLevel: 'silent', logPretty: false }, {});
  const context = { database, workerId: 'survivor', clock: systemClock, logger };
  const id = await fixture.submitBackup(await fixture.createConfig(), { enqueue: false });
  for (const workerId of ['first', 'second']) await claimRun(database, 'backup', id, { workerId });

  await endStalledRun(context, 'backup', { id }, new Error('storage_full: no space'));
  await endStalledRun(context, 'schedule', { id }, new Error('job stalled more than allowable limit'));
  expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'running', attempt: 2 });

  await endStalledRun(context, 'backup', { id }, new Error('job stalled more than allowable limit'));
  const row = await fixture.eventually('backup', id, () => true);
  expect(row).toMatchObject({ status: 'failed', errorCode: 'attempts_exhausted' });
  expect(row.errorMessage).toBe('2 attempts ended with the death of their worker');
});
