import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectionOptions } from './connection-options.ts';
import { connectDatabase, connectWire } from './connect.ts';
import { makeSelfSignedCertificate } from './testing/self-signed-certificate.ts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from './testing/test-postgres.ts';

const withCode = (code: string, more: object = {}): unknown => expect.objectContaining({ code, ...more });

describe.for(testMajors)('PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  const options = (over: Partial<ConnectionOptions> = {}): ConnectionOptions => connectionOf(server, over);

  beforeAll(async () => {
    if (missing !== null) return;
    const accessRules = ['host replication plain 127.0.0.1/32 scram-sha-256', 'host all nobody_else 127.0.0.1/32 reject'];
    const rules = [...accessRules, 'host replication unlisted 127.0.0.1/32 reject', 'hostssl all encrypted 127.0.0.1/32 scram-sha-256'];
    server = await startTestPostgres({ major, tls: true, accessRules: [...rules, 'hostnossl all encrypted 127.0.0.1/32 reject'] });
    await server.query(`CREATE ROLE plain LOGIN PASSWORD 'secret'; CREATE ROLE unlisted LOGIN REPLICATION PASSWORD 'secret';
      CREATE ROLE encrypted LOGIN PASSWORD 'secret'; CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'secret'`);
  });
  afterAll(async () => server?.[Symbol.asyncDispose]());

  test.skipIf(missing !== null)('SQL with values, several statements, and the errors of both', async () => {
    await using connection = await connectDatabase(options());
    expect(Math.floor(connection.serverVersion / 10_000)).toBe(major);
    expect(await connection.query('SELECT $1::int + 1 AS n', [41])).toEqual([{ n: 42 }]);
    expect(await connection.query("SELECT 1; SELECT 'last' AS word")).toEqual([{ word: 'last' }]);
    await expect(connection.query('SELECT * FROM nothing_here')).rejects.toThrow(withCode('postgresql_not_found'));
    expect(await connection.query('SELECT 1 AS still')).toEqual([{ still: 1 }]);
  });

  test.skipIf(missing !== null)('a conversation of our own: rows, NULL, errors, notices, and on it goes', async () => {
    await using wire = await connectWire(options(), { mode: 'database' });
    const [first, second] = await wire.query(
      "SELECT 1 AS a, NULL AS b, 'grün' AS c; DO $$BEGIN RAISE NOTICE 'heard'; END$$; SHOW DateStyle",
    );
    expect(first).toEqual({ columns: ['a', 'b', 'c'], rows: [['1', null, 'grün']], tag: 'SELECT 1' });
    expect(second?.rows).toEqual([['ISO, MDY']]);
    expect(wire.notices).toEqual(['heard']);
    await expect(wire.query('SELECT 1/0')).rejects.toThrow(
      withCode('postgresql_failed', { context: expect.objectContaining({ sqlState: '22012' }) }),
    );
    expect((await wire.query('SELECT 2'))[0]?.rows).toEqual([['2']]);
  });

  test.skipIf(missing !== null)('COPY out and in, of rows that lie across packets', async () => {
    await using wire = await connectWire(options(), { mode: 'database' });
    await wire.query('CREATE TEMP TABLE copied (n int, t text)');
    wire.begin('COPY (SELECT n, repeat(chr(65 + n % 26), n % 5000) FROM generate_series(1, 3000) n) TO STDOUT');
    const rows: Buffer[] = [];
    for (let event = await wire.next(); event.kind !== 'ready'; event = await wire.next()) {
      if (event.kind === 'copy-data') rows.push(await wire.wholeData());
    }
    expect(rows.length).toBe(3000);
    wire.begin('COPY copied FROM STDIN');
    expect((await wire.next()).kind).toBe('copy-in');
    for (const row of rows) await wire.sendCopyData(row.subarray(0, 1), row.subarray(1));
    wire.sendCopyDone();
    expect((await wire.next()).kind).toBe('ready');
    const [sum] = await wire.query('SELECT count(*), sum(length(t)), bool_and(t = repeat(chr(65 + n % 26), n % 5000)) FROM copied');
    const expected = Array.from({ length: 3000 }, (_, index) => (index + 1) % 5000).reduce((total, length) => total + length);
    expect(sum?.rows).toEqual([['3000', String(expected), 't']]);
  });

  test.skipIf(missing !== null)('a replication connection takes replication commands, with SCRAM bound to TLS or without', async () => {
    for (const tls of [{ mode: 'disable' }, { mode: 'verify-full', ca: server.certificatePem, serverName: 'localhost' }] as const) {
      await using wire = await connectWire(options({ user: 'streamer', password: 'secret', tls }), { mode: 'replication' });
      const [system] = await wire.query('IDENTIFY_SYSTEM');
      expect(system?.columns.slice(0, 3)).toEqual(['systemid', 'timeline', 'xlogpos']);
    }
  });

  test.skipIf(missing !== null)('who may not come in is told why, each by its own code', async () => {
    const replication = (over: Partial<ConnectionOptions>) => connectWire(options(over), { mode: 'replication' });
    await expect(connectDatabase(options({ user: 'plain', password: undefined }))).rejects.toThrow(withCode('postgresql_login_failed'));
    const wrong = { user: 'plain', password: 'wrong-password-4711' };
    const failure = await connectDatabase(options(wrong)).catch((error: unknown) => error);
    expect(failure).toEqual(withCode('postgresql_login_failed', { retry: 'never' }));
    expect(JSON.stringify(failure) + String(failure)).not.toContain('4711');
    await expect(replication(wrong)).rejects.toThrow(withCode('postgresql_login_failed'));
    await expect(connectDatabase(options({ user: 'no_such_role' }))).rejects.toThrow(withCode('postgresql_login_failed'));
    await expect(connectDatabase(options({ user: 'nobody_else' }))).rejects.toThrow(withCode('postgresql_access_rule_missing'));
    await expect(replication({ user: 'unlisted', password: 'secret' })).rejects.toThrow(
      withCode('postgresql_access_rule_missing', { hint: expect.stringContaining('host replication unlisted ') }),
    );
    await expect(replication({ user: 'plain', password: 'secret' })).rejects.toThrow(
      withCode('postgresql_denied', { hint: expect.stringContaining('ALTER ROLE "plain" REPLICATION') }),
    );
    await expect(connectDatabase(options({ database: 'missing' }))).rejects.toThrow(withCode('postgresql_not_found'));
    await expect(connectDatabase(options({ user: 'encrypted', password: 'secret' }))).rejects.toThrow(
      withCode('postgresql_access_rule_missing'),
    );
  });

  test.skipIf(missing !== null)('TLS: verified by chain and name, or not at all', async () => {
    const withTls = (tls: ConnectionOptions['tls'], host = '127.0.0.1') => connectDatabase(options({ host, tls }));
    const ca = server.certificatePem ?? '';
    for (const open of [
      withTls({ mode: 'verify-full', ca }),
      withTls({ mode: 'verify-full', ca }, 'localhost'),
      withTls({ mode: 'require' }),
    ]) {
      await using connection = await open;
      expect(await connection.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).toEqual([{ ssl: true }]);
    }
    const other = makeSelfSignedCertificate({ dns: 'localhost' }).certificatePem;
    for (const tls of [{}, { ca: other }, { ca, serverName: 'db.example.org' }]) {
      await expect(withTls({ mode: 'verify-full', ...tls })).rejects.toThrow(withCode('postgresql_tls_failed', { retry: 'never' }));
    }
  });

  test.skipIf(missing !== null)('an abort ends what runs within a second, at the server too', async () => {
    for (const open of [
      async (signal: AbortSignal) => {
        const connection = await connectDatabase(options({ applicationName: 'sleeper' }), { signal });
        return { connection, sleeping: connection.query('SELECT pg_sleep(60)') };
      },
      async (signal: AbortSignal) => {
        const connection = await connectWire(options({ applicationName: 'sleeper' }), { mode: 'database', signal });
        return { connection, sleeping: connection.query('SELECT pg_sleep(60)') };
      },
    ]) {
      const abort = new AbortController();
      const { connection, sleeping } = await open(abort.signal);
      await using _ = connection;
      const outcome = sleeping.catch((error: unknown) => error);
      await untilSleeping(server, 1);
      const startedMs = performance.now();
      abort.abort(new Error('enough'));
      expect(await outcome).toEqual(new Error('enough'));
      expect(performance.now() - startedMs).toBeLessThan(1_000);
      await untilSleeping(server, 0);
    }
  });

  test.skipIf(missing !== null)('a statement that takes too long, and a session that the server ends', async () => {
    await using slow = await connectDatabase(options({ statementTimeoutMs: 50 }));
    await expect(slow.query('SELECT pg_sleep(10)')).rejects.toThrow(withCode('postgresql_busy', { retry: 'later' }));
    await using wire = await connectWire(options({ applicationName: 'victim' }), { mode: 'database' });
    const outcome = wire.query('SELECT pg_sleep(60)').catch((error: unknown) => error);
    await untilSleeping(server, 1);
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'");
    expect(await outcome).toEqual(
      withCode('postgresql_interrupted', { retry: 'later', context: expect.objectContaining({ sqlState: '57P01' }) }),
    );
    await expect(wire.query('SELECT 1')).rejects.toThrow(withCode('postgresql_interrupted'));
  });
});

test.skipIf(missingPostgres(15) !== null)('a server with wal_level minimal says what to set', async () => {
  await using server = await startTestPostgres({ major: 15, settings: { wal_level: 'minimal', max_wal_senders: '0' } });
  await expect(connectWire(connectionOf(server), { mode: 'replication' })).rejects.toThrow(
    withCode('postgresql_setting_missing', { hint: expect.stringContaining("wal_level = 'replica'") }),
  );
  await expect(connectWire(connectionOf(server, { tls: { mode: 'require' } }), { mode: 'replication' })).rejects.toThrow(
    withCode('postgresql_tls_failed'),
  );
});

test('nobody listens, or somebody who says nothing', async () => {
  const options = { host: '127.0.0.1', user: 'u', database: 'd', tls: { mode: 'disable' as const }, connectTimeoutMs: 100 };
  const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  await expect(connectDatabase({ ...options, port })).rejects.toThrow(withCode('postgresql_unreachable', { retry: 'later' }));
  const abort = new AbortController();
  const connecting = connectWire({ ...options, port, connectTimeoutMs: 10_000 }, { mode: 'replication', signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(connecting).rejects.toThrow('enough');
  silent.close();
  await once(silent, 'close');
  await expect(connectDatabase({ ...options, port })).rejects.toThrow(withCode('postgresql_unreachable'));
});

function connectionOf(server: TestPostgres, over: Partial<ConnectionOptions> = {}): ConnectionOptions {
  const { host, port, user, password } = server;
  return { host, port, user, password, database: 'postgres', tls: { mode: 'disable' }, ...over };
}

async function untilSleeping(server: TestPostgres, count: number): Promise<void> {
  const sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
  for (const giveUpAtMs = performance.now() + 5_000; ; await delay(20)) {
    const [row] = await server.query(sql);
    if (Number(row?.['count']) === count) return;
    if (performance.now() > giveUpAtMs) throw new Error(`not ${count} sleeping statements but ${row?.['count']}`);
  }
}
