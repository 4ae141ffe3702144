import { quoteLiteral } from './quote.ts';

/**
 * What a session of a backup or a recovery is set to, beyond what the connection says: as pg_dump does it, so that texts come out the
 * same and lossless whatever server, database or role have as their defaults.
 */
export interface SessionSettings {
  /** 0 for none. */
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
}

/** Rows that come in another order each time would not be known again in the next backup: no synchronized scans. */
export function backupSettings({ statementTimeoutMs, lockTimeoutMs }: SessionSettings, encoding: string): string {
  return statements({
    ...commonSettings(lockTimeoutMs, encoding),
    statement_timeout: String(statementTimeoutMs),
    synchronize_seqscans: 'off',
    extra_float_digits: '3',
    row_security: 'off',
    TimeZone: 'UTC',
    IntervalStyle: 'postgres',
    DateStyle: 'ISO',
    bytea_output: 'hex',
    quote_all_identifiers: 'off',
  });
}

export function recoverySettings({ lockTimeoutMs }: Pick<SessionSettings, 'lockTimeoutMs'>, encoding: string): string {
  return statements({
    ...commonSettings(lockTimeoutMs, encoding),
    statement_timeout: '0',
    row_security: 'off',
    DateStyle: 'ISO',
    IntervalStyle: 'postgres',
    standard_conforming_strings: 'on',
    xmloption: 'content',
    check_function_bodies: 'off',
  });
}

function commonSettings(lockTimeoutMs: number, encoding: string): Record<string, string> {
  return {
    search_path: '',
    client_encoding: encoding,
    lock_timeout: String(lockTimeoutMs),
    idle_in_transaction_session_timeout: '0',
    client_min_messages: 'warning',
  };
}

function statements(settings: Record<string, string>): string {
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${quoteLiteral(value)};`)
    .join('\n');
}

/**
 * The encoding in which data is sent: UTF8, to which the server converts without loss; a database in SQL_ASCII promises no encoding at
 * all, and its bytes are taken as they are.
 */
export function transferEncoding(databaseEncoding: string): 'UTF8' | 'SQL_ASCII' {
  return databaseEncoding === 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8';
}
