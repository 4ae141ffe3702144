import { chmod, chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { apartArguments, commandsOf, keepApart, openShell, serverUser } from '../testing/by-hand.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const missing = missingPostgres(15);
const { found } = await findStockRestics();

describe.skipIf(missing !== null)(`a physical backup is restored with restic and the server's programs alone ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let snapshotId: string;
  let folder: string;

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15 });
    const space = join(server.folder, 'space');
    await mkdir(space);
    if (serverUser !== '') await chown(space, 65_534, 65_534);
    await server.query(`CREATE TABLESPACE elsewhere LOCATION '${space}'`);
    await server.query('CREATE TABLE apart TABLESPACE elsewhere AS SELECT n FROM generate_series(1, 10000) n');
    await server.query("CREATE ROLE backup_role LOGIN REPLICATION PASSWORD 'secret'");
    await server.run('pgbench', ['-i', '-q', '-s', '2', 'postgres']);
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) } });
    const connection = { host: server.host, port: server.port, user: 'backup_role', database: 'postgres', tls: { mode: 'disable' } };
    const configId = await fixture.createConfig({
      backupType: 'database_full',
      source: { type: 'postgresql', method: 'physical', connection },
      sourcePassword: { place: connectionPlace(connection), password: 'secret' },
      encryptionKey: 'secret',
    });
    // Money moves from before the backup's start until after its end.
    const load = server.run('pgbench', ['-n', '-c', '2', '-T', '5', 'postgres']);
    await vi.waitFor(async () => expect(await server.query('SELECT 1 FROM pgbench_history LIMIT 1')).toHaveLength(1), { timeout: 4_000 });
    const id = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed', errorMessage: null });
    await load;
    snapshotId = (await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } })).snapshotId ?? '';
    folder = await mkdtemp(join(tmpdir(), 'holdfast-by-hand-'));
    await chmod(folder, 0o755);
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test.each(found)('with $name $version, by the commands of its README.txt', async (restic) => {
    const repository = join(fixture.folder, 'storage', 'repository');
    await restic.run(repository, ['check', '--read-data']);
    const restored = join(folder, restic.version);
    // The way to the data folder has to be open to the server's account.
    await mkdir(restored, { mode: 0o755 });
    await restic.run(repository, ['restore', snapshotId, '--target', restored]);
    await chmod(restored, 0o755);
    const commands = await commandsOf(join(restored, 'README.txt'));
    expect(commands.map((command) => command.split(' ')[0])).toEqual(['restic', 'pg_verifybackup', 'mv', 'sed', 'chmod', 'pg_ctl']);
    const [, verify = '', move = '', map = '', owner = '', start = ''] = commands;
    const [oid] = (await readFile(join(restored, 'data', 'tablespace_map'), 'utf8')).split(' ');
    const shell = openShell(restored, { OID: oid ?? '', '/new/path': join(restored, 'space') });
    expect(await shell(verify)).toContain('backup successfully verified');
    await shell(move);
    await shell(map);
    await shell(owner.replace('postgres:', `${serverUser}:`));
    if (serverUser !== '') await shell(`chown -R ${serverUser}: /new/path`);
    await keepApart(join(restored, 'data'));
    await shell(start, serverUser);
    try {
      const sql = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS accounts, (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers,
        (SELECT sum(bbalance) FROM pgbench_branches) AS branches, (SELECT sum(delta) FROM pgbench_history) AS history,
        (SELECT count(*) FROM apart) AS apart`;
      const text = await shell(`psql -X -At ${apartArguments} -c "SELECT to_json(sums) FROM (${sql}) sums" postgres`);
      const sums = JSON.parse(text) as Record<string, number>;
      expect(sums['apart']).toBe(10_000);
      for (const each of ['tellers', 'branches', 'history']) expect(sums[each], each).toBe(sums['accounts']);
    } finally {
      await shell('pg_ctl -D data -m immediate stop', serverUser);
    }
  });
});
