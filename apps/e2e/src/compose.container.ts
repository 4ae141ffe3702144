import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { type ComposeStack, missingCompose, startComposeStack } from './harness/compose-stack.ts';
import { makeDataTree } from './harness/data-tree.ts';

const workerCount = 4;
const jobCount = 200;
const tenantNames = ['alder', 'birch', 'cedar', 'dogwood'];
const allDoneLimitMs = 600_000;

const missing = await missingCompose();
if (missing !== null) console.warn(`skipped: ${missing}`);

// What docker-compose.yml promises, on a real engine: any number of workers share the work, and what is recovered is what was there.
describe.skipIf(missing !== null)('docker compose with four workers', () => {
  let stack: ComposeStack;
  let folder: string;
  const configIds: string[] = [];
  let jobs: Row[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-compose-'));
    await makeDataTree(folder, [2_000_000]);
    stack = await startComposeStack({ workerCount });
    await stack.copyInto('worker', folder, '/sources/data');
    // A copy keeps its owner, who is not the one that the service runs as.
    await stack.compose('exec', '-T', '--user', 'root', 'worker', 'chown', '-hR', 'node:', '/sources/data');
    for (const name of tenantNames) configIds.push(await createTenant(stack, name));
  });
  afterAll(async () => {
    await stack?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('runs every part as an unprivileged user, healthy', async () => {
    for (const service of ['api', 'worker']) expect(await stack.exec(service, 'id', '-un')).toBe('node');
    expect(await stack.api.get('/status')).toMatchObject({ queueBackend: 'redis' });
    expect((await stack.api.get<{ workers: unknown[] }>('/status')).workers).toHaveLength(workerCount);
  });

  test('has the programs that parts of applications need in the image', async () => {
    for (const program of ['mariadb', 'mariadb-dump']) expect(await stack.exec('worker', program, '--version')).toContain('MariaDB');
  });

  test(`completes ${jobCount} jobs, spread over all workers`, async () => {
    jobs = await Promise.all(
      Array.from({ length: jobCount }, (_, number) => stack.api.post('/jobs', { backupConfigId: configIds[number % configIds.length] })),
    );
    const finished: Row[] = [];
    for (const job of jobs) finished.push(await stack.api.finished(`/jobs/${job.id}`, allDoneLimitMs));
    expect(countBy(finished, (job) => `${job.status} ${job.errorCode ?? ''} ${job.errorMessage ?? ''}`.trim())).toEqual({
      completed: jobCount,
    });

    const claims = await stack.exec('postgres', 'psql', '-U', 'holdfast', '-Atc', 'SELECT "claimedBy" FROM backup_jobs');
    const share = countBy(claims.split('\n'), (worker) => worker);
    console.log('jobs by worker', share);
    expect(Object.keys(share)).toHaveLength(workerCount);
    // An even share would be a quarter; a worker that got a twentieth took part all the time.
    for (const count of Object.values(share)) expect(count).toBeGreaterThan(jobCount / 20);
  });

  test.each(tenantNames.map((name, number) => [name, number] as const))(
    'recovers what %s has backed up, to the byte',
    async (name, number) => {
      const job = jobs.findLast((_, position) => position % configIds.length === number);
      const targetLocation = `/targets/${name}`;
      const accepted = await stack.api.post('/recovery', { backupJobId: job?.id, recoveryType: 'full', targetLocation });
      expect(await stack.api.finished(`/recovery/${accepted.id}`)).toMatchObject({ status: 'completed' });
      expect(await listing(stack, `${targetLocation}/sources/data`)).toBe(await listing(stack, '/sources/data'));
    },
  );
});

async function createTenant(stack: ComposeStack, name: string): Promise<string> {
  const entity = await stack.api.post('/entities', { name });
  const config = await stack.api.post('/configs', {
    businessEntityId: entity.id,
    name: `${name} data`,
    backupType: 'file_system',
    source: { type: 'file_system', paths: ['/sources/data'] },
    retentionDays: 30,
    storageLocation: 'local',
    storageOptions: { type: 'local', path: `/repositories/${name}` },
  });
  return config.id;
}

/** Path, type, mode, size, owner, time to the nanosecond and link target of every entry, and the hash of every file. */
async function listing(stack: ComposeStack, path: string): Promise<string> {
  const entries = String.raw`find . -mindepth 1 -printf '%p %y %m %s %u %T@ %n %l\n' | LC_ALL=C sort`;
  return stack.exec('worker', 'sh', '-ec', `cd ${path}; ${entries}; find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2`);
}

function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}
