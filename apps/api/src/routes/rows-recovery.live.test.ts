import { afterAll, beforeAll, expect, test } from 'vitest';
import { addTenant, configBody, startTestApi, type TestApi, type Tenant } from '../testing/test-api.ts';

let api: TestApi;
let tenant: Tenant;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await addTenant(api, 'mine');
});
afterAll(() => api[Symbol.asyncDispose]());

const recover = (more: object) => api.send('POST', '/recovery', { backupJobId: tenant.jobId, recoveryType: 'full', ...more });

test('rows are recovered from backups of configuration only, and by themselves', async () => {
  const rows = { mode: 'diff' };
  const refused = [
    [{ rows }, 'rows'],
    [{ rows, recoveryType: 'selective' }, 'recoveryType'],
    [{ rows, targetLocation: '/srv/restored/x' }, 'targetLocation'],
    [{ rows, dryRun: true }, 'dryRun'],
    [{ rows: { mode: 'guess' } }, 'rows.mode'],
  ] as const;
  for (const [body, field] of refused) {
    const answer = (await recover(body)).json<{ code: string; errors: { field: string }[] }>();
    expect(answer, field).toMatchObject({ code: 'request_invalid', errors: [{ field }] });
  }
  await api.database.client.backupJob.update({ where: { id: tenant.jobId }, data: { backupType: 'configuration' } });
  const accepted = await recover({ rows: { mode: 'apply', overwrite: true } });
  expect(accepted.statusCode, accepted.body).toBe(202);
  expect(accepted.json()).toMatchObject({ targetLocation: 'holdfast:rows', options: { rows: { mode: 'apply', overwrite: true } } });
});

test('a config of configuration is held against the roots, and keeps the place of rows free', async () => {
  const send = async (source: object) =>
    (
      await api.send(
        'POST',
        '/configs',
        configBody(tenant.entityId, { backupType: 'configuration', source: { type: 'configuration', ...source } }),
      )
    ).json<{
      code?: string;
      errors?: { field: string }[];
    }>();
  expect(await send({ globs: ['/srv/data/**/*.conf'], paths: ['/srv/data/hosts'], ownRows: true })).not.toHaveProperty('code');
  expect(await send({ globs: ['/etc/*.conf'] })).toMatchObject({ code: 'path_outside_roots', errors: [{ field: 'source.globs.0' }] });
  for (const source of [
    {},
    { globs: ['/srv/data/../../etc/*'] },
    { globs: ['*.conf'] },
    { globs: ['/'] },
    { paths: ['/holdfast'], ownRows: true },
  ]) {
    expect(await send(source), JSON.stringify(source)).toMatchObject({ code: 'request_invalid' });
  }
});
