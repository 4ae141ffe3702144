import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '../testing/test-postgres.ts';
import { WalScanner } from './wal-scanner.ts';

const segmentBytes = 16 * 1024 * 1024;
/** The header of a segment's first page: a record may begin that much behind the end of the one before. */
const maxPageHeaderBytes = 40n;

const settings = { wal_keep_size: '2GB', max_prepared_transactions: '5', track_commit_timestamp: 'on' };

test.for(testMajors.filter((major) => missingPostgres(major) === null))(
  'PostgreSQL %i: the last commit and the restore points are those that the server knows',
  async (major) => {
    await using server = await startTestPostgres({ major, settings });
    await writeAllKindsOfWal(server);
    const [last] = await server.query<{ time: string }>(
      'SELECT (extract(epoch FROM timestamp) * 1000000)::bigint::text AS time FROM pg_last_committed_xact()',
    );
    const scanner = new WalScanner();
    for (const { startLsn, bytes } of (await readSegments(server)).segments) scanner.scan(startLsn, bytes);
    expect(scanner.lastCommitUs).toBe(BigInt(last?.time ?? 0));
    expect(scanner.restorePoints).toEqual(await pointsOf(server));
  },
);

test.skipIf(missingPostgres(15) !== null)('after each segment, all is as pg_waldump tells', async () => {
  await using server = await startTestPostgres({ major: 15, settings });
  await writeAllKindsOfWal(server);
  const { segments, endLsn } = await readSegments(server);
  expect(segments.length).toBeGreaterThan(4);
  const told = await toldByWaldump(server, segments[0]?.startLsn ?? 0n, endLsn);
  expect(told.filter(({ timeUs }) => timeUs !== null).length).toBeGreaterThan(500);
  const scanner = new WalScanner();
  for (const [index, { startLsn, bytes }] of segments.entries()) {
    scanner.scan(startLsn, bytes);
    const whole = told.filter(({ endsBefore }) => endsBefore <= startLsn + BigInt(bytes.length));
    const times = whole.flatMap(({ timeUs }) => timeUs ?? []);
    expect([index, scanner.lastCommitUs]).toEqual([
      index,
      times.reduce<bigint | null>((most, us) => (most === null || us > most ? us : most), null),
    ]);
    expect(scanner.restorePoints.map(({ name }) => name)).toEqual(whole.flatMap(({ point }) => point ?? []));
  }
});

test.skipIf(missingPostgres(15) !== null)('a scan that begins in the middle finds what began behind that place', async () => {
  await using server = await startTestPostgres({ major: 15, settings });
  await writeAllKindsOfWal(server);
  const { segments } = await readSegments(server);
  const [whole, late] = [new WalScanner(), new WalScanner()];
  for (const [index, { startLsn, bytes }] of segments.entries()) {
    whole.scan(startLsn, bytes);
    if (index > 1) late.scan(startLsn, bytes);
  }
  expect(late.lastCommitUs).toBe(whole.lastCommitUs);
  expect(late.restorePoints.length).toBeGreaterThan(0);
  expect(whole.restorePoints).toEqual(expect.arrayContaining(late.restorePoints));
  expect(() => late.scan(0n, segments[0]?.bytes ?? Buffer.alloc(0))).toThrow(
    expect.objectContaining({ code: 'postgresql_stream_damaged' }),
  );
});

/** Records of all lengths, switches, transactions that are prepared, rolled back and nested; four restore points. */
async function writeAllKindsOfWal(server: TestPostgres): Promise<void> {
  await server.query('CREATE TABLE points (name text, lsn pg_lsn)');
  await server.run('pgbench', ['-i', '-q', '-s', '2', 'postgres']);
  await makePoint(server, 'first');
  await server.run('pgbench', ['-n', '-c', '2', '-t', '200', 'postgres']);
  for (const sizeBytes of [1, 7_900, 8_192, 100_000, 3_000_000]) {
    await server.query(`SELECT pg_logical_emit_message(true, 'holdfast', repeat('y', ${sizeBytes}))`);
  }
  await server.query(`BEGIN; INSERT INTO points VALUES ('rolled back', '0/0'); ROLLBACK`);
  await server.query(
    `BEGIN; SAVEPOINT a; INSERT INTO points SELECT NULL, NULL WHERE false; RELEASE a; CREATE TABLE dropped (); DROP TABLE dropped; COMMIT`,
  );
  await server.query(`BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'one'`);
  await makePoint(server, 'between prepare and commit');
  await server.query('SELECT pg_switch_wal()');
  await server.query(`COMMIT PREPARED 'one'`);
  await makePoint(server, 'nach der Änderung');
  await server.query('CREATE TABLE bulk AS SELECT n, md5(n::text) AS word FROM generate_series(1, 300000) n');
  await makePoint(server, 'x'.repeat(63));
  await server.run('pgbench', ['-n', '-c', '2', '-t', '50', 'postgres']);
}

async function makePoint(server: TestPostgres, name: string): Promise<void> {
  await server.query(`INSERT INTO points SELECT '${name}', pg_create_restore_point('${name}')`);
}

async function pointsOf(server: TestPostgres): Promise<{ name: string; lsn: Lsn }[]> {
  const rows = await server.query<{ name: string; lsn: string }>('SELECT name, lsn FROM points ORDER BY lsn');
  return rows.map(({ name, lsn }) => ({ name, lsn: parseLsn(lsn) }));
}

/** All that is flushed, of which the last segment is cut where the log ends. */
async function readSegments(server: TestPostgres): Promise<{ segments: { name: string; startLsn: Lsn; bytes: Buffer }[]; endLsn: string }> {
  const [{ end } = { end: '' }] = await server.query<{ end: string }>('SELECT pg_current_wal_flush_lsn() AS end');
  const folder = join(server.dataDir, 'pg_wal');
  const names = (await readdir(folder)).filter((name) => /^[0-9A-F]{24}$/u.test(name)).toSorted();
  const segments = [];
  for (const name of names) {
    const startLsn = (BigInt(`0x${name.slice(8, 16)}`) << 32n) + BigInt(`0x${name.slice(16)}`) * BigInt(segmentBytes);
    // Files behind it wait for their turn.
    if (startLsn >= parseLsn(end)) continue;
    const bytes = await readFile(join(folder, name));
    segments.push({ name, startLsn, bytes: bytes.subarray(0, Number(parseLsn(end) - startLsn)) });
  }
  return { segments, endLsn: end };
}

interface ToldRecord {
  readonly timeUs: bigint | null;
  readonly point: string | null;
  /** No later than here it has ended. */
  readonly endsBefore: Lsn;
}

async function toldByWaldump(server: TestPostgres, startLsn: Lsn, endLsn: string): Promise<ToldRecord[]> {
  const text = await server.run('pg_waldump', ['-p', join(server.dataDir, 'pg_wal'), '-s', formatLsn(startLsn), '-e', endLsn]);
  const records = text
    .split('\n')
    .filter((line) => line.startsWith('rmgr: '))
    .map((line) => {
      const [, lsn = ''] = /, lsn: ([0-9A-F/]+),/u.exec(line) ?? [];
      const [, day, clock] = /desc: (?:COMMIT|ABORT)(?:_PREPARED)?\b.*?(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+)/u.exec(line) ?? [];
      const [, name = null] = /desc: RESTORE_POINT (.*)$/u.exec(line) ?? [];
      const isPrepare = line.includes('desc: PREPARE');
      return { lsn: parseLsn(lsn), timeUs: day === undefined || isPrepare ? null : asMicroseconds(`${day}T${clock}`), point: name };
    });
  return records.map(({ timeUs, point: name }, index) => ({
    timeUs,
    point: name,
    endsBefore: (records[index + 1]?.lsn ?? parseLsn(endLsn) + maxPageHeaderBytes) - maxPageHeaderBytes,
  }));
}

function asMicroseconds(text: string): bigint {
  const [seconds = '', fraction = ''] = text.split('.');
  return BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
}
