import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readWhole, walk } from '../testing/source-contract.ts';
import { parseManifest } from './manifest.ts';
import { openMysqlPart, type MysqlPartOptions } from './mysql-part.ts';
import { writePart } from './testing/read-part.ts';
import { followMysqlReadme } from './testing/readme-followed.ts';
import { makeShop, shopDigest } from './testing/sample-shop.ts';
import { missingMariadb, startTestMariadb, type TestMariadb } from './testing/test-mariadb.ts';

const missing = missingMariadb();
const never = new AbortController().signal;
const partOf = (server: TestMariadb, more: Partial<MysqlPartOptions> = {}) =>
  openMysqlPart({
    name: 'db',
    connection: server.connection,
    consistency: 'transaction',
    users: false,
    programPlaces: {},
    signal: never,
    ...more,
  });

/** The programs that work for a server, by what everybody can see of them. */
async function programsOf(server: TestMariadb): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))) {
    const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (words.startsWith('/usr/bin/mariadb') && words.includes('--defaults-file=')) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      found.push(`${words} ${environment}`);
    }
  }
  const count = await server.query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'boss' AND ID <> CONNECTION_ID()");
  expect(count.length).toBeLessThanOrEqual(found.length + 1);
  return found;
}

describe.skipIf(missing !== null)(`a MariaDB server as a part ${missing ?? ''}`, () => {
  let server: TestMariadb;
  let folder: string;
  beforeAll(async () => {
    server = await startTestMariadb({ settings: ['--log-bin=bin', '--server-id=1', '--log-bin-trust-function-creators=1'] });
    await makeShop(server);
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-mysql-part-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('its files, and what they say of it', async () => {
    const part = partOf(server);
    const moment = await part.takeMoment(never);
    expect(moment.warnings).toEqual([expect.stringContaining('shop.old (Aria)') as string]);
    const files = await writePart(part, folder);
    expect(files.slice(0, 7)).toEqual([
      '/README.txt',
      '/databases/bank-2/database.sql',
      '/databases/bank-2/programs.sql',
      '/databases/bank-2/tables/00001.accounts.sql',
      '/databases/shop/database.sql',
      '/databases/shop/programs.sql',
      '/databases/shop/tables/00001.numbers.sql',
    ]);
    expect(files).toContain('/databases/shop/views.sql');
    const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'));
    expect(manifest).toMatchObject({ server: { product: 'MariaDB' }, consistency: 'transaction', position: { file: 'bin.000001' } });
    expect(manifest.databases.map(({ name, tables, views }) => [name, tables.length, views])).toEqual([
      ['bank-2', 1, []],
      ['shop', 9, ['a_first_view', 'a_second_view']],
    ]);
    expect(await part.facts()).toMatchObject({
      server: 'MariaDB',
      withoutTransactions: ['shop.old (Aria)'],
      position: { file: 'bin.000001' },
    });
    await part.close();
  });

  test('is restored by the commands of its README.txt, word for word, and is the same', async () => {
    const part = partOf(server);
    await writePart(part, folder);
    await part.close();
    await using target = await startTestMariadb({ settings: ['--log-bin-trust-function-creators=1'] });
    const { restoreDatabase, restoreTable } = await followMysqlReadme(folder, target);
    for (const name of ['shop', 'bank-2']) await restoreDatabase(name);
    for (const name of ['shop', 'bank-2']) expect(await shopDigest(target, name)).toEqual(await shopDigest(server, name));
    await target.query('DROP TABLE shop.orders');
    await restoreTable('shop', 'orders');
    expect(await shopDigest(target, 'shop')).toEqual(await shopDigest(server, 'shop'));
    // A value of a sequence is not used twice.
    expect(await target.query('SELECT NEXTVAL(shop.numbers) > 6000')).toEqual([['1']]);
  });

  test('under transfers between two databases, every backup shows one moment', async () => {
    await server.query(
      `
      CREATE DATABASE east; CREATE DATABASE west;
      CREATE TABLE east.accounts (id INT PRIMARY KEY, balance INT, filler TEXT); CREATE TABLE west.accounts LIKE east.accounts;
      INSERT INTO east.accounts SELECT seq, 1000, REPEAT('x', 2000) FROM seq_1_to_3000; INSERT INTO west.accounts SELECT * FROM east.accounts;`,
      { database: 'shop' },
    );
    const over = new AbortController();
    const transfers = Array.from({ length: 40 }, (_, i) => {
      const [from, to] = i % 2 === 0 ? ['east', 'west'] : ['west', 'east'];
      return `START TRANSACTION; UPDATE ${from}.accounts SET balance = balance - ${i} WHERE id = ${1 + i * 70};
        UPDATE ${to}.accounts SET balance = balance + ${i} WHERE id = ${2990 - i * 70}; COMMIT;`;
    }).join('\n');
    let rounds = 0;
    const writing = (async () => {
      for (; !over.signal.aborted; rounds++) await server.query(transfers);
    })();
    try {
      for (let i = 0; i < 3; i++) {
        const before = rounds;
        const part = partOf(server, { databases: ['east', 'west'] });
        await part.takeMoment(never);
        // The application goes on for a while before anything is read.
        await delay(300);
        const parts = [];
        for (const database of ['east', 'west']) {
          for (const file of ['database', 'programs', 'tables/00001.accounts']) {
            parts.push(Buffer.from(await readWhole(part.source, `/databases/${database}/${file}.sql`, 100_000)).toString());
          }
        }
        await part.close();
        expect(rounds).toBeGreaterThan(before);
        const balances = parts.join('').matchAll(/^\((\d+),(-?\d+),'x/gmu);
        const values = [...balances].map((match) => Number(match[2]));
        expect(values).toHaveLength(6000);
        expect(values.reduce((sum, value) => sum + value, 0)).toBe(6_000_000);
      }
    } finally {
      over.abort();
      await writing;
      await server.query('DROP DATABASE east; DROP DATABASE west');
    }
  });

  test('under a lock nothing is written until the rows are read', async () => {
    const part = partOf(server, { consistency: 'lock', databases: ['shop'] });
    expect((await part.takeMoment(never)).warnings).toEqual([]);
    let isWritten = false;
    const writing = server.query('INSERT INTO shop.old VALUES (99, NULL)').then(() => (isWritten = true));
    await delay(300);
    expect(isWritten).toBe(false);
    await writePart(part, folder);
    await part.close();
    await writing;
    expect(await readFile(join(folder, 'databases/shop/tables/00008.old.sql'), 'utf8')).not.toContain('(99,');
    await server.query('DELETE FROM shop.old WHERE a = 99');
  });

  test('only what is chosen, and accounts on request', async () => {
    const part = partOf(server, { databases: ['shop'], excludeTables: ['shop.orders', 'shop.a_first_view'], users: true });
    const files = await writePart(part, folder);
    await part.close();
    expect(files.join(' ')).not.toMatch(/orders|bank/u);
    expect(await readFile(join(folder, 'databases/shop/views.sql'), 'utf8')).not.toContain('a_first_view');
    expect(await readFile(join(folder, 'users.sql'), 'utf8')).toContain('CREATE USER `boss`@`127.0.0.1`');
    await expect(partOf(server, { databases: ['shop', 'other'] }).takeMoment(never)).rejects.toMatchObject({
      code: 'mysql_not_found',
      message: expect.stringContaining('other') as string,
    });
    const none = partOf(server, { databases: undefined, excludeTables: [] });
    await none.close();
    await none.close();
  });

  test('no password in what others can see, and no file of ours is left', async () => {
    const part = partOf(server);
    await part.takeMoment(never);
    const programs = await programsOf(server);
    expect(programs.length).toBeGreaterThan(0);
    for (const words of programs) expect(words).not.toContain('secret');
    const options = /--defaults-file=([^\0]+)/u.exec(programs[0] ?? '')?.[1] ?? '';
    expect(await readFile(options, 'utf8')).toContain('password=');
    await part.close();
    await expect(readFile(options)).rejects.toThrow('ENOENT');
    expect(await programsOf(server)).toEqual([]);
  });

  describe('faults', () => {
    beforeAll(async () => {
      await server.query(
        `CREATE DATABASE big; CREATE TABLE big.first (id INT PRIMARY KEY, t LONGTEXT); CREATE TABLE big.second LIKE big.first;
        INSERT INTO big.first SELECT seq, REPEAT(MD5(seq), 200) FROM seq_1_to_10000; INSERT INTO big.second SELECT * FROM big.first;`,
        { database: 'shop' },
      );
    });

    /** A part of which the first rows have been read, and the rest waits. */
    const begun = async (of: TestMariadb = server, signal = never) => {
      const part = partOf(of, { databases: ['big'], signal });
      await part.takeMoment(never);
      await walk(part.source);
      await readWhole(part.source, '/databases/big/database.sql', 1000);
      const first = await part.source.openFile('/databases/big/tables/00001.first.sql');
      let position = 0;
      const buffer = new Uint8Array(200_000);
      for (let i = 0; i < 5; i++) position += await first.read(buffer, position);
      const readAll = async (): Promise<void> => {
        for (let read = 1; read > 0; position += read) read = await first.read(buffer, position);
        await readWhole(part.source, '/databases/big/tables/00002.second.sql', 200_000);
        await readWhole(part.source, '/manifest.json', 1000);
      };
      return { part, readAll };
    };

    test('a table that is altered while another is read: changed, to be tried again', async () => {
      const { part, readAll } = await begun();
      await server.query('ALTER TABLE big.second ADD COLUMN more INT, ALGORITHM=COPY');
      await expect(readAll()).rejects.toMatchObject({ code: 'mysql_changed', retry: 'later' });
      await expect(part.facts()).rejects.toThrow('was not read to its end');
      await part.close();
      await server.query('ALTER TABLE big.second DROP COLUMN more');
    });

    test('a table that is dropped, and one that is renamed into what was read already: never a backup without it', async () => {
      const dropped = await begun();
      await server.query('CREATE TABLE big.spare LIKE big.second; RENAME TABLE big.second TO shop.second, big.spare TO big.second_2');
      await expect(dropped.readAll()).rejects.toMatchObject({ code: 'mysql_changed' });
      await dropped.part.close();
      await server.query('DROP TABLE big.second_2; RENAME TABLE shop.second TO big.second');
    });

    test('a session that is killed: interrupted; so is a server', async () => {
      const { part, readAll } = await begun();
      const sessions = await server.query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'boss' AND ID <> CONNECTION_ID()");
      for (const [id] of sessions) await server.query(`KILL ${id}`);
      await expect(readAll()).rejects.toMatchObject({ code: 'mysql_interrupted', retry: 'later' });
      await part.close();

      await using victim = await startTestMariadb();
      await victim.query(`CREATE DATABASE big; USE big; CREATE TABLE big.first (id INT PRIMARY KEY, t LONGTEXT); CREATE TABLE big.second LIKE big.first;
        INSERT INTO big.first SELECT seq, REPEAT(MD5(seq), 200) FROM seq_1_to_10000;`);
      const killed = await begun(victim);
      await victim.kill();
      await expect(killed.readAll()).rejects.toMatchObject({ code: 'mysql_interrupted', retry: 'later' });
      await killed.part.close();
    });

    test('a dump program that is killed', async () => {
      const { part, readAll } = await begun();
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))) {
        const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
        if (words.startsWith('/usr/bin/mariadb-dump') && words.endsWith('big\0')) process.kill(Number(pid), 'SIGKILL');
      }
      await expect(readAll()).rejects.toMatchObject({ code: 'mysql_failed' });
      await part.close();
    });

    test('an abort ends what waits, and leaves no program', async () => {
      const abort = new AbortController();
      const { part, readAll } = await begun(server, abort.signal);
      const manifest = readWhole(part.source, '/manifest.json', 1000);
      manifest.catch(() => undefined);
      abort.abort(new Error('stop'));
      await expect(readAll()).rejects.toThrow('stop');
      await expect(manifest).rejects.toThrow('stop');
      await part.close();
      expect(await programsOf(server)).toEqual([]);
    });

    test('a reader that stops early leaves no program', async () => {
      const { part } = await begun();
      await part.close();
      expect(await programsOf(server)).toEqual([]);
    });

    test('rights: what is denied is told, and what cannot be seen is warned of', async () => {
      await server.query("CREATE USER few@'127.0.0.1' IDENTIFIED BY 'pass'; GRANT SELECT, SHOW VIEW ON shop.* TO few@'127.0.0.1'");
      const connection = { ...server.connection, user: 'few', password: 'pass' };
      const part = partOf(server, { connection });
      const { warnings } = await part.takeMoment(never);
      expect(warnings.join('\n')).toMatch(/right TRIGGER nowhere[^]*right EVENT nowhere/u);
      await expect(writePart(part, folder)).rejects.toMatchObject({ code: 'mysql_denied' });
      await part.close();
      // Enough is this.
      await server.query(
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.* TO few@'127.0.0.1'; GRANT SELECT ON mysql.proc TO few@'127.0.0.1'",
      );
      const enough = partOf(server, { connection });
      await writePart(enough, folder);
      expect(await enough.facts()).toMatchObject({ position: null });
      await enough.close();
      // Rights that are lost between the moment and a table.
      await server.query("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON big.* TO few@'127.0.0.1'");
      const lost = partOf(server, { connection, databases: ['big'] });
      await lost.takeMoment(never);
      await server.query("REVOKE ALL ON big.* FROM few@'127.0.0.1'");
      await expect(writePart(lost, folder)).rejects.toMatchObject({ code: expect.stringMatching(/^mysql_(denied|changed)$/u) as string });
      await lost.close();
    });

    test('a wrong password, an unknown user, nobody there', async () => {
      for (const login of [{ password: 'wrong secret' }, { user: 'nobody' }, { password: undefined }]) {
        const failure: unknown = await partOf(server, { connection: { ...server.connection, ...login } })
          .takeMoment(never)
          .catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: 'mysql_login_failed' });
        expect(String(failure)).not.toContain('secret');
      }
      const gone = partOf(server, { connection: { ...server.connection, port: 1 } });
      await expect(gone.takeMoment(never)).rejects.toMatchObject({ code: 'mysql_unreachable', retry: 'later' });
      const tools = partOf(server, { programPlaces: { binFolders: ['/nowhere'] } });
      await expect(tools.takeMoment(never)).rejects.toMatchObject({ code: 'mysql_tool_missing' });
    });
  });

  test('TLS: asked for, it is spoken or refused; verified by the certificate that is given and its name', async () => {
    const { connection } = server;
    await expect(partOf(server, { connection: { ...connection, tls: { mode: 'require' } } }).takeMoment(never)).rejects.toMatchObject({
      code: 'mysql_tls_failed',
    });
    await using safe = await startTestMariadb({ tls: true });
    await safe.query('CREATE DATABASE one');
    const ca = safe.certificatePem;
    const moment = async (tls: MysqlPartOptions['connection']['tls'], host = '127.0.0.1') => {
      const part = partOf(safe, { connection: { ...safe.connection, host, tls } });
      try {
        await part.takeMoment(never);
      } finally {
        await part.close();
      }
    };
    await moment({ mode: 'require' });
    await moment({ mode: 'verify-full', ca });
    await expect(moment({ mode: 'verify-full' })).rejects.toMatchObject({ code: 'mysql_tls_failed' });
  });
});
