import { expect, test } from 'vitest';
import { connectionError, serverError, type Activity } from './postgresql-error.ts';

const at = (activity: Activity, isReplication = true) => ({ place: 'u@db:5432', user: 'u', database: 'd', isReplication, activity });
const code = (sqlState: string, activity: Activity = 'querying', routine?: string): string =>
  serverError({ sqlState, message: 'Meldung', routine }, at(activity)).code;

test('the same SQLSTATE means something else at another moment', () => {
  expect(code('58P01', 'reading_wal')).toBe('postgresql_wal_lost');
  expect(code('58P01', 'backing_up')).toBe('postgresql_interrupted');
  expect(code('58P01')).toBe('postgresql_failed');
  expect(code('55000', 'reading_wal')).toBe('postgresql_wal_lost');
  expect(code('55000', 'backing_up')).toBe('postgresql_interrupted');
  expect(code('55000', 'backing_up', 'do_pg_backup_start')).toBe('postgresql_setting_missing');
  expect(code('XX000', 'reading_wal', 'StartReplication')).toBe('postgresql_wal_lost');
  expect(code('XX000', 'reading_wal', 'elsewhere')).toBe('postgresql_failed');
});

test.each([
  ['53100', 'postgresql_disk_full', 'later'],
  ['53300', 'postgresql_limit_reached', 'later'],
  ['53999', 'postgresql_limit_reached', 'later'],
  ['57P01', 'postgresql_interrupted', 'later'],
  ['57P03', 'postgresql_unreachable', 'later'],
  ['08006', 'postgresql_interrupted', 'later'],
  ['58030', 'postgresql_failed', 'later'],
  ['28P01', 'postgresql_login_failed', 'never'],
  ['3D000', 'postgresql_not_found', 'never'],
  ['42601', 'postgresql_failed', 'never'],
])('%s becomes %s', (sqlState, expected, retry) => {
  const error = serverError({ sqlState, message: 'Meldung' }, at('querying', false));
  expect(error).toMatchObject({ code: expected, retry, message: 'u@db:5432: Meldung', context: { server: 'u@db:5432', sqlState } });
});

test('a server without senders names the settings', () => {
  const full = serverError({ sqlState: '53300', message: 'exceeds max_wal_senders (currently 10)' }, at('connecting'));
  expect(full.code).toBe('postgresql_limit_reached');
  const none = serverError({ sqlState: '53300', message: 'Anzahl über »max_wal_senders« (aktuell 0)' }, at('connecting'));
  expect(none).toMatchObject({ code: 'postgresql_setting_missing', hint: expect.stringContaining('max_wal_senders = 10') });
});

test.each([
  ['ECONNREFUSED', 'connecting', 'postgresql_unreachable'],
  ['ENOTFOUND', 'connecting', 'postgresql_unreachable'],
  ['ECONNRESET', 'backing_up', 'postgresql_interrupted'],
  ['CERT_HAS_EXPIRED', 'connecting', 'postgresql_tls_failed'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'connecting', 'postgresql_tls_failed'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'connecting', 'postgresql_tls_failed'],
] as const)('%s while %s becomes %s', (errno, activity, expected) => {
  const cause = Object.assign(new Error('said so'), { code: errno });
  const error = connectionError(cause, at(activity));
  expect(error).toMatchObject({ code: expected, message: 'u@db:5432: said so', cause });
  expect(connectionError(error, at('querying'))).toBe(error);
});
