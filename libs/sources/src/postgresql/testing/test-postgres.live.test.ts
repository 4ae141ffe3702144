import { connect as connectTls } from 'node:tls';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { missingPostgres, startTestPostgres, testMajors } from './test-postgres.ts';

test.for(testMajors)('PostgreSQL %i starts, answers, restarts with its data and goes', async (major, { skip }) => {
  if (missingPostgres(major) !== null) skip(missingPostgres(major) ?? '');
  let folder: string;
  {
    await using server = await startTestPostgres({ major, settings: { wal_level: 'logical' }, initdb: ['--wal-segsize=1'] });
    folder = server.folder;
    const [row] = await server.query(`CREATE TABLE t (a int); INSERT INTO t VALUES (7); SELECT current_setting('wal_level') AS level,
      current_setting('wal_segment_size') AS segment, current_setting('server_version_num') AS version FROM t`);
    expect(row).toMatchObject({ level: 'logical', segment: '1MB' });
    expect(Math.floor(Number(row?.['version']) / 10_000)).toBe(major);
    await server.stop();
    await server.start();
    expect(await server.query('SELECT a::text FROM t')).toEqual([{ a: '7' }]);
    expect(await server.run('psql', ['-d', 'postgres', '-Atc', 'SELECT a FROM t'])).toBe('7\n');
  }
  expect(existsSync(folder)).toBe(false);
});

test.for(testMajors)('PostgreSQL %i takes TLS with the certificate that was made for it', async (major, { skip }) => {
  if (missingPostgres(major) !== null) skip(missingPostgres(major) ?? '');
  await using server = await startTestPostgres({ major, tls: true });
  const plain = connect(server.port, server.host);
  plain.write(Buffer.from('0000000804d2162f', 'hex')); // SSLRequest
  expect(String((await once(plain, 'data'))[0])).toBe('S');
  const secure = connectTls({ socket: plain, ca: server.certificatePem, servername: 'localhost', rejectUnauthorized: true });
  await once(secure, 'secureConnect');
  expect(secure.authorized).toBe(true);
  secure.destroy();
});
