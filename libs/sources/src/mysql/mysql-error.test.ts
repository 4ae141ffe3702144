import { expect, test } from 'vitest';
import { mysqlConnectionSchema, mysqlNameSchema, mysqlPlace } from './connection-options.ts';
import { programError } from './mysql-error.ts';
import { optionValue } from './option-file.ts';

test.each([
  ["ERROR 1045 (28000): Access denied for user 'a'@'b' (using password: YES)", 'mysql_login_failed'],
  ["mariadb-dump: Got error: 2002: \"Can't connect to server on '127.0.0.1' (115)\" when trying to connect", 'mysql_unreachable'],
  ["mariadb-dump: Couldn't execute 'SHOW CREATE TABLE `a`': SHOW command denied to user 'a'@'b' for table `a`.`b` (1142)", 'mysql_denied'],
  ['mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `a` at row: 3', 'mysql_interrupted'],
  ['mariadb-dump: Error 1412: "Table definition has changed, please retry transaction" when dumping table `a`', 'mysql_changed'],
  ['mysqldump: a has insufficent privileges to SHOW CREATE PROCEDURE `b`!', 'mysql_denied'],
  ['ERROR 2026 (HY000): TLS/SSL error: SSL is required, but the server does not support it', 'mysql_tls_failed'],
  [
    "ERROR 2013 (HY000): Lost connection to server at 'handshake: reading initial communication packet', system error: 11",
    'mysql_unreachable',
  ],
  ['', 'mysql_failed'],
])('%s', (complaint, code) => {
  const error = programError('mariadb', 'holdfast@db:3306', { code: 1, complaint });
  expect(error).toMatchObject({ code, message: expect.stringContaining(complaint || 'no word of why') as string });
});

test('a statement that failed is not repeated: it may hold rows', () => {
  const complaint =
    "--------------\nINSERT INTO a VALUES ('secret\nERROR is here')\n--------------\n\nERROR 1062 (23000) at line 1: Duplicate entry";
  expect(programError('mariadb', 'p', { code: 1, complaint }).message).toBe(
    'mariadb at p ended with 1: ERROR 1062 (23000) at line 1: Duplicate entry',
  );
});

test('a connection as it is stored, and what is missing in it', () => {
  const stored = mysqlConnectionSchema.parse({ host: 'db', user: 'holdfast' });
  expect(stored).toEqual({ host: 'db', port: 3306, user: 'holdfast', tls: { mode: 'verify-full' } });
  expect(mysqlPlace(stored)).toBe('holdfast@db:3306');
  const tls = { mode: 'verify-full', serverName: 'other' };
  for (const wrong of [{ host: 'db' }, { host: '/socket', user: 'a' }, { host: 'db', user: 'a\nb' }, { host: 'db', user: 'a', tls }]) {
    expect(mysqlConnectionSchema.safeParse(wrong).success).toBe(false);
  }
  expect(mysqlNameSchema.safeParse('a'.repeat(65)).success).toBe(false);
  expect(mysqlNameSchema.parse('Odd/na%me.`"x')).toBe('Odd/na%me.`"x');
});

test('values of an option file keep to their line', () => {
  expect(optionValue('a "b" \\ #c\n[client]')).toBe(String.raw`"a \"b\" \\ #c\n[client]"`);
});
