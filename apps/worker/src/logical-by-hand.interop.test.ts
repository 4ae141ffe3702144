import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { archive } from '@holdfast/engine/archiver';
import { createRepository } from '@holdfast/engine/create-repository';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { cheapKdf as kdf } from '@holdfast/engine/testing/test-repository';
import { openLogicalSource } from '@holdfast/sources/postgresql/logical/logical-source';
import { makeShop, shopDigest } from '@holdfast/sources/postgresql/testing/sample-shop';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const missing = missingPostgres(15);
const { found } = await findStockRestics();
const run = promisify(execFile);

describe.skipIf(missing !== null)(`a logical backup is restored with restic and psql alone ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let target: TestPostgres;
  let folder: string;

  beforeAll(async () => {
    [server, target] = await Promise.all([startTestPostgres({ major: 15 }), startTestPostgres({ major: 15 })]);
    folder = await mkdtemp(join(tmpdir(), 'holdfast-by-hand-'));
    await makeShop(server, 'shop');
    const storage = await openLocalStorage({ path: join(folder, 'repository') });
    await using repository = await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf });
    const { host, port, user, password } = server;
    const source = await openLogicalSource({
      connection: { host, port, user, password, database: 'postgres', tls: { mode: 'disable' } },
      connectionCount: 2,
      settings: { statementTimeoutMs: 0, lockTimeoutMs: 5_000 },
      toolPlaces: {},
      signal: AbortSignal.timeout(60_000),
    });
    try {
      const { skipped } = await archive({ repository, source, hostname: 'host', username: 'ann' });
      expect(skipped).toEqual([]);
    } finally {
      await source.close();
    }
  });
  afterAll(async () => {
    await Promise.all([server?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
    await rm(folder, { recursive: true, force: true });
  });

  test.each(found)('with $name $version, by the commands of its README.txt', async (restic) => {
    const restored = join(folder, `restored-by-${restic.version}`);
    await mkdir(restored);
    const repository = join(folder, 'repository');
    await restic.run(repository, ['check', '--read-data']);
    await restic.run(repository, ['restore', 'latest', '--target', restored]);
    const readme = await readFile(join(restored, 'README.txt'), 'utf8');
    const commands = readme.split('\n').flatMap((line) => /^ {5}((?:psql|cd|cat|grep) .*)$/u.exec(line)?.[1] ?? []);
    expect(commands).toHaveLength(4);
    const { host, port, user, password } = target;
    const env = {
      PATH: '/usr/lib/postgresql/15/bin:/usr/bin:/bin',
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
    };
    await target.query('DROP DATABASE IF EXISTS shop');
    // Only roles that are there already may be complained about: the first command goes on after errors, and all else must not fail.
    const script = commands.map((command) => command.replaceAll('NAME', 'shop').replaceAll('ME[', 'postgres[')).join('\n');
    await run('bash', ['-e', '-o', 'pipefail', '-c', script], { env, cwd: restored });
    expect(await shopDigest(target, 'shop')).toBe(await shopDigest(server, 'shop'));
    await expect(
      run('bash', ['-c', `psql -X -v ON_ERROR_STOP=1 -d shop -f databases/shop/data/shop.wide.sql`], { env, cwd: restored }),
    ).resolves.toBeDefined();
    expect(await target.query('SELECT count(*) AS n FROM shop.wide', { database: 'shop' })).toEqual([{ n: '8000' }]);
  });
});
