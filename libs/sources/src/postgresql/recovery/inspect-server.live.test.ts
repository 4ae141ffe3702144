import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingPostgres, testMajors } from '../testing/test-postgres.ts';
import { inspectServer, type InspectionOptions } from './inspect-server.ts';
import type { RecoveryServer } from './recovery-server.ts';
import type { RestoreAssertion } from './run-assertions.ts';
import { startRecoverySource, type RecoverySource } from './testing/recovery-source.ts';

const testLimitMs = 120_000;
const rowCount = 3_000;

describe.each(testMajors)('what is seen in a restored PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  const name = missing ?? 'it';
  let source: RecoverySource;
  let base: string;
  let server: RecoveryServer;

  beforeAll(async () => {
    if (missing !== null) return;
    source = await startRecoverySource(major);
    await source.cluster.query('CREATE DATABASE "other one"');
    await source.cluster.query(
      `CREATE TABLE "Still Here" (n int PRIMARY KEY, word text); CREATE TABLE damaged (n int PRIMARY KEY, word text);
      INSERT INTO "Still Here" SELECT g, md5(g::text) FROM generate_series(1, ${rowCount}) g;
      INSERT INTO damaged SELECT g, md5(g::text) FROM generate_series(1, ${rowCount}) g;
      CREATE TABLE parted (n int) PARTITION BY RANGE (n); CREATE TABLE part_one PARTITION OF parted FOR VALUES FROM (0) TO (10);
      INSERT INTO parted VALUES (1), (2); CREATE VIEW seen AS SELECT * FROM parted; CREATE MATERIALIZED VIEW unfilled AS SELECT 1 WITH NO DATA`,
      { database: 'other one' },
    );
    base = await source.takeBase('base');
    await source.commit(5);
    await source.archive();
    server = await source.recover(base, { kind: 'end_of_wal' });
  }, testLimitMs);
  afterAll(async () => {
    await server?.stop();
    await source?.[Symbol.asyncDispose]();
  });

  const options = (more: Partial<InspectionOptions> = {}): InspectionOptions => ({
    connection: server.connection,
    isScratch: true,
    exactRowLimit: 100_000,
    statementTimeoutMs: 30_000,
    totalTimeoutMs: 60_000,
    assertions: [],
    signal: new AbortController().signal,
    ...more,
  });
  const assertion = (sql: string, expected: RestoreAssertion['expected'], database = 'other one'): RestoreAssertion => ({
    name: sql,
    database,
    sql,
    expected,
  });

  test.skipIf(missing !== null)(`${name} has nothing wrong, and all rows`, async () => {
    const seen = await inspectServer(options());
    expect(seen.findings).toEqual([]);
    expect(seen.notes).toEqual([]);
    const other = seen.databases.find((database) => database.name === 'other one');
    expect(other).toMatchObject({ rowCount: 2 * rowCount + 2, isExact: true, tableCount: 3 });
    expect(other?.tables.find((table) => table.name === 'public."Still Here"')).toMatchObject({ rowCount, isExact: true });
    expect(seen.databases.map((database) => database.name)).toEqual(['other one', 'postgres', 'template1']);
    for (const { checked } of seen.databases) {
      expect(checked?.tableCount).toBeGreaterThan(60);
      expect(checked?.indexCount).toBeGreaterThan(100);
    }
    expect(seen.bytes).toBeGreaterThan(20_000_000);
    expect(seen.rowCount).toBe(seen.databases.reduce((sum, database) => sum + database.rowCount, 0));
  });

  test.skipIf(missing !== null)(`${name} is counted as far as is asked, and estimated beyond`, async () => {
    const other = (await inspectServer(options({ exactRowLimit: 100 }))).databases.find((database) => database.name === 'other one');
    const table = other?.tables.find((each) => each.name === 'public."Still Here"');
    expect(other?.isExact).toBe(false);
    expect(table?.isExact).toBe(false);
    expect(table?.rowCount).toBeGreaterThan(100);
  });

  test.skipIf(missing !== null)(`${name} holds what is asserted, and says what it does not`, async () => {
    const held = [
      assertion('SELECT count(*) FROM "Still Here";', rowCount),
      assertion('SELECT word FROM "Still Here" WHERE n = 1 -- the first', 'c4ca4238a0b923820dcc509a6f75849b'),
      assertion('SELECT count(*) > 2 FROM parted', false),
      assertion('SELECT NULL::int', null),
    ];
    const failing: [RestoreAssertion, RegExp][] = [
      [assertion('SELECT count(*) FROM parted', 3), /^2$/u],
      [assertion('SELECT 1', '1'), /^1$/u],
      [assertion('SELECT n FROM parted', 1), /more than one row/u],
      [assertion('SELECT n FROM parted WHERE n > 10', 1), /no row/u],
      [assertion('SELECT 1 AS a, 2 AS b', 1), /2 columns/u],
      [assertion("SELECT repeat('x', 20000)", 'x'), /too long/u],
      [assertion('SELEC 1', 1), /syntax error/u],
      [assertion('SELECT 1', 1, 'nowhere'), /"nowhere" does not exist/u],
      [assertion('SELECT pg_sleep(30)', 1), /statement timeout/u],
    ];
    const seen = await inspectServer(options({ assertions: [...held, ...failing.map(([each]) => each)], statementTimeoutMs: 1_000 }));
    expect(seen.assertions.slice(0, held.length).map((each) => each.hasPassed)).toEqual(held.map(() => true));
    for (const [index, [, reason]] of failing.entries()) {
      const result = seen.assertions[held.length + index];
      expect(result?.hasPassed).toBe(false);
      expect(result?.actual).toMatch(reason);
    }
    expect(seen.findings.map((finding) => finding.kind)).toEqual(failing.map(() => 'assertion_failed'));
  });

  test.skipIf(missing !== null)(`${name} lets no assertion out of its room`, async () => {
    const attempts: [string, RegExp][] = [
      ["SELECT pg_read_file('/etc/passwd')", /permission denied/u],
      ["SELECT pg_ls_dir('/')::text LIMIT 1", /permission denied/u],
      ['SELECT 1) AS a; COMMIT; CREATE TABLE made (n int); SELECT 1 FROM (SELECT 1', /cannot insert multiple commands/u],
      ["COPY (SELECT 1) TO PROGRAM 'touch /tmp/holdfast-was-here'", /syntax error/u],
      ['WITH gone AS (DELETE FROM parted RETURNING n) SELECT count(*) FROM gone', /must be at the top level|read-only transaction/u],
      ["SELECT set_config('transaction_read_only', 'off', false)", /read-write mode|^"off"$/u],
      ["SELECT lo_import('/etc/passwd')", /permission denied|read-only transaction/u],
      ['SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL LIMIT 1', /SCRAM|permission denied/u],
    ];
    const seen = await inspectServer(options({ assertions: attempts.map(([sql]) => assertion(sql, 'never')) }));
    for (const [index, [, reason]] of attempts.entries()) {
      expect(seen.assertions[index]?.actual).toMatch(reason);
      expect(seen.assertions[index]?.hasPassed).toBe(false);
    }
    const rest = await inspectServer(
      options({ assertions: [assertion('SELECT count(*) FROM parted', 2), assertion("SELECT to_regclass('made')::text", null)] }),
    );
    expect(rest.findings).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} is left as it is when it is not thrown away`, async () => {
    await using kept = await source.recover(base, { kind: 'end_of_wal' });
    const seen = await inspectServer(options({ connection: kept.connection, isScratch: false, assertions: [assertion('SELECT 1', 1)] }));
    expect(seen.findings).toEqual([]);
    expect(seen.databases.every((database) => database.checked === null)).toBe(true);
    expect(seen.notes.join('\n')).toMatch(/amcheck is not there/u);
    expect(seen.notes.join('\n')).toMatch(/assertions need a server that is thrown away/u);
  });

  test.skipIf(missing !== null)(`${name} shows where it is damaged`, async () => {
    const bad = join(source.root, 'bad');
    await promisify(execFile)('cp', ['-a', base, bad]);
    const query = "SELECT pg_relation_filepath('damaged') AS heap, pg_relation_filepath('damaged_pkey') AS index";
    const [files] = await source.cluster.query<{ heap: string; index: string }>(query, { database: 'other one' });
    for (const file of [files?.heap, files?.index]) {
      const handle = await open(join(bad, file ?? ''), 'r+');
      await handle.write(Buffer.from('damage'), 0, 6, 2 * 8192 + 5_000);
      await handle.close();
    }
    await using damaged = await source.recover(bad, { kind: 'end_of_wal' });
    const seen = await inspectServer(options({ connection: damaged.connection }));
    const about = (kind: string, relation: string | null): unknown => expect.objectContaining({ kind, relation, database: 'other one' });
    expect(seen.findings).toEqual(
      expect.arrayContaining([
        about('table_unreadable', 'public.damaged'),
        about('table_damaged', 'public.damaged'),
        about('index_damaged', 'public.damaged_pkey'),
        about('checksum_failed', null),
      ]),
    );
    expect(seen.findings.every((finding) => finding.relation === null || finding.relation.startsWith('public.damaged'))).toBe(true);
  });

  test.skipIf(missing !== null)(`${name} shows an index that lacks rows, whose pages are all right`, async () => {
    const sql = `CREATE FUNCTION twist(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'; CREATE TABLE twisted AS SELECT g AS n FROM generate_series(1, 500) g;
      CREATE INDEX twisted_index ON twisted (twist(n)); CREATE OR REPLACE FUNCTION twist(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT -$1'`;
    await source.cluster.query(sql);
    await source.archive();
    await using twisted = await source.recover(base, { kind: 'end_of_wal' });
    const seen = await inspectServer(options({ connection: twisted.connection }));
    expect(seen.findings).toEqual([
      expect.objectContaining({ kind: 'index_damaged', relation: 'public.twisted_index', database: 'postgres' }),
    ]);
  });

  test.skipIf(missing !== null)(`${name} is not looked at longer than there is time, and not when it is called off`, async () => {
    const seen = await inspectServer(options({ totalTimeoutMs: 1 }));
    expect(seen.notes.join('\n')).toMatch(/in the time that there was/u);
    await expect(inspectServer(options({ signal: AbortSignal.abort(new Error('called off')) }))).rejects.toThrow('called off');
  });

  test.skipIf(missing !== null)(`${name} says so when it ends meanwhile`, async () => {
    const ending = await source.recover(base, { kind: 'end_of_wal' });
    const slow = assertion('SELECT pg_sleep(20)', 1);
    const inspection = inspectServer(options({ connection: ending.connection, assertions: [slow] }));
    const stopped = new Promise((resolve) => setTimeout(resolve, 1_500)).then(() => ending.stop());
    await expect(inspection).rejects.toMatchObject({ code: 'postgresql_recovery_failed' });
    await stopped;
  });
});
