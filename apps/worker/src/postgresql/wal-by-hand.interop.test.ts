import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { promote } from '@holdfast/sources/postgresql/testing/promote';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apartArguments, commandsOf, keepApart, openShell, serverUser } from '../testing/by-hand.ts';
import { localServers } from '../testing/slot-keeper.ts';
import { openWalChain, type WalChain } from '../testing/wal-chain.ts';
import { openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const missing = missingPostgres(15);
const { found } = await findStockRestics();

const stateSql = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS accounts, (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers,
  (SELECT sum(bbalance) FROM pgbench_branches) AS branches, (SELECT sum(delta) FROM pgbench_history) AS history,
  (SELECT count(*) FROM pgbench_history) AS moves, (SELECT md5(string_agg(h::text, ',' ORDER BY h::text)) FROM pgbench_history h) AS sum`;

interface ListedSnapshot {
  readonly id: string;
  readonly tags: readonly string[];
}

describe.skipIf(missing !== null)(`WAL is replayed with restic and the server's programs alone ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let folder: string;

  beforeAll(async () => {
    server = await startTestPostgres({ major: 15, settings: { wal_keep_size: '1GB' } });
    await server.run('pgbench', ['-i', '-q', '-s', '2', 'postgres']);
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: localServers });
    chain = await openWalChain(fixture, server);
    const load = (async () => {
      for (let nth = 0; nth < 3; nth++) await server.run('pgbench', ['-n', '-c', '2', '-T', '3', 'postgres']);
    })();
    await chain.base();
    for (let nth = 0; nth < 3; nth++) {
      await server.query(`CREATE TABLE bulk_${nth} AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n`);
      await chain.wal();
    }
    await load;
    await promote(server);
    await server.run('pgbench', ['-n', '-c', '2', '-t', '500', 'postgres']);
    await chain.wal();
    folder = await mkdtemp(join(tmpdir(), 'holdfast-by-hand-'));
    await chmod(folder, 0o755);
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test.each(found)('with $name $version, by the commands of the README.txt of both kinds', async (restic) => {
    const repository = join(fixture.folder, 'storage', 'repository');
    await restic.run(repository, ['check', '--read-data']);
    const place = join(folder, restic.version);
    // The way to the data folder has to be open to the server's account.
    await mkdir(place, { mode: 0o755 });
    const shell = openShell(place, { '/some/folder': place });
    /** `restic -r REPOSITORY …`, as it stands there, up to what goes on behind it. */
    const byRestic = async (command: string, snapshot: string): Promise<void> => {
      const words = command.split(' && ')[0]?.replace('SNAPSHOT', snapshot).replaceAll('/some/folder', place).split(' ') ?? [];
      expect(words.slice(0, 3)).toEqual(['restic', '-r', 'REPOSITORY']);
      await restic.run(repository, words.slice(3));
    };

    const listed = JSON.parse(await restic.run(repository, ['snapshots', '--json'])) as ListedSnapshot[];
    const [base, ...wal] = listed.map(({ id, tags }) => ({ id, isBase: tags.includes(`config:${chain.baseConfigId}`) }));
    expect([base?.isBase, ...wal.map(({ isBase }) => isBase)]).toEqual([true, false, false, false, false]);

    await restic.run(repository, ['restore', base?.id ?? '', '--target', place]);
    await chmod(place, 0o755);
    const [restoreBase = '', verify = ''] = await commandsOf(join(place, 'README.txt'));
    await byRestic(restoreBase, base?.id ?? '');
    expect(await shell(verify)).toContain('backup successfully verified');

    await restic.run(repository, ['restore', wal.at(-1)?.id ?? '', '--target', join(place, 'read-me')]);
    const commands = await commandsOf(join(place, 'read-me', 'README.txt'));
    expect(commands.map((command) => command.split(' ')[0])).toEqual(['restic', 'echo', 'rm', 'chmod', 'pg_ctl']);
    const [restoreWal = '', say = '', signal = '', owner = '', start = ''] = commands;
    for (const { id } of wal) await byRestic(restoreWal, id);
    await shell(say);
    await shell(signal);
    await shell(owner.replace('postgres:', `${serverUser}:`));
    await keepApart(join(place, 'data'));
    await shell(start, serverUser);
    try {
      const ask = async (sql: string): Promise<string> => (await shell(`psql -X -At ${apartArguments} -c "${sql}" postgres`)).trim();
      await expect.poll(() => ask('SELECT pg_is_in_recovery()'), { timeout: 60_000 }).toBe('f');
      const state = JSON.parse(await ask(`SELECT to_json(state) FROM (${stateSql}) state`)) as Record<string, number>;
      expect(state).toEqual((await server.query<{ state: object }>(`SELECT to_json(state) AS state FROM (${stateSql}) state`))[0]?.state);
      for (const each of ['tellers', 'branches', 'history']) expect(state[each], each).toBe(state['accounts']);
      expect(await ask('SELECT count(*) FROM bulk_2')).toBe('200000');
      await shell(`pg_amcheck --install-missing --heapallindexed --all ${apartArguments}`, serverUser);
    } finally {
      await shell('pg_ctl -D data -m immediate stop', serverUser);
    }
  });
});
