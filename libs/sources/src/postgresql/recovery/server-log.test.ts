import { describe, expect, test } from 'vitest';
import { recoveryError } from './server-log.ts';

const line = (text: string): string => `2026-05-01 03:00:00.123 UTC [4711] ${text}\n`;
const start = line('LOG:  starting PostgreSQL 15.18') + line('LOG:  starting archive recovery');
const end = line('LOG:  startup process (PID 4712) exited with exit code 1') + line('LOG:  database system is shut down');

describe('what a log says of a recovery', () => {
  test.each([
    ['FATAL:  recovery ended before configured recovery target was reached', 'postgresql_target_uncovered'],
    ['FATAL:  requested recovery stop point is before consistent recovery point', 'postgresql_target_uncovered'],
    ['FATAL:  WAL ends before end of online backup', 'postgresql_wal_missing'],
    ['FATAL:  WAL ends before consistent recovery point', 'postgresql_wal_missing'],
    ['FATAL:  could not locate required checkpoint record', 'postgresql_wal_missing'],
    ['FATAL:  could not locate required checkpoint record at 0/4000080', 'postgresql_wal_missing'],
    ['FATAL:  could not find redo location referenced by checkpoint record', 'postgresql_wal_missing'],
    ["FATAL:  requested timeline 2 is not a child of this server's history", 'postgresql_wal_missing'],
    ['FATAL:  recovery target timeline 4 does not exist', 'postgresql_wal_missing'],
    ['FATAL:  archive file "000000020000000000000003" has wrong size: 10158080 instead of 16777216', 'postgresql_wal_missing'],
    ['FATAL:  resource manager with ID 128 not registered', 'postgresql_recovery_failed'],
    ['PANIC:  could not write to file "pg_wal/xlogtemp.4712": No space left on device', 'disk_full'],
    ['FATAL:  could not map anonymous shared memory: Cannot allocate memory', 'postgresql_recovery_failed'],
  ])('%s', (text, code) => {
    const error = recoveryError(start + line(text) + end);
    expect(error.code).toBe(code);
    expect(error.message).toContain(`the server said: ${text.replace(/ {2}/u, ' ')}`);
  });

  test('what belongs to it is quoted too, and no time or process of it', () => {
    const error = recoveryError(start + line('FATAL:  no') + line('DETAIL:  because') + line('HINT:  mend it') + end);
    expect(error.message).toBe('the server ended while it recovered; the server said: FATAL: no DETAIL: because HINT: mend it');
  });

  test('a log without a reason gives its last line, an empty one nothing', () => {
    expect(recoveryError('postgres: cannot execute\n').message).toContain('the server said: postgres: cannot execute');
    expect(recoveryError('').message).toBe('the server ended while it recovered');
  });

  test('a long story is cut', () => {
    expect(recoveryError(line(`FATAL:  ${'x'.repeat(10_000)}`)).message.length).toBeLessThan(800);
  });
});
