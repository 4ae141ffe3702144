import { errnoCode } from '@holdfast/errors/errno-code';
import type { ErrorCode, Retry } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The door at which errors of PostgreSQL and of the way to it become ours. The server's messages may be in any language, so what is
 * decided here is decided by SQLSTATE and by the name of the routine that complains. A message is shown; details and statements, which
 * can hold rows, are not. SQLSTATEs: src/backend/utils/errcodes.txt.
 */
export interface ServerComplaint {
  readonly sqlState: string;
  readonly message: string;
  readonly severity?: string | undefined;
  /** The C function that raised it. */
  readonly routine?: string | undefined;
}

/** What the connection was doing: the same SQLSTATE means something else at another moment. */
export type Activity = 'connecting' | 'querying' | 'backing_up' | 'reading_wal';

export interface ErrorPlace {
  /** `holdfast@db.example.org:5432` */
  readonly place: string;
  readonly activity: Activity;
  /** What the connection asks for, for the line that pg_hba.conf lacks. */
  readonly user: string;
  readonly database: string;
  readonly isReplication: boolean;
}

interface Rule {
  readonly code: ErrorCode;
  readonly hint?: string;
  readonly retry?: Retry;
}

const bySqlState: Readonly<Record<string, Rule>> = {
  '28P01': { code: 'postgresql_login_failed', hint: 'give the password of this role, or set it anew: ALTER ROLE … PASSWORD …' },
  '28000': { code: 'postgresql_login_failed', hint: 'check that the role exists and may log in: ALTER ROLE … LOGIN' },
  '3D000': { code: 'postgresql_not_found', hint: 'name a database that the server has' },
  '42501': { code: 'postgresql_denied' },
  '42P01': { code: 'postgresql_not_found' },
  '3F000': { code: 'postgresql_not_found' },
  '53100': { code: 'postgresql_disk_full' },
  '53200': { code: 'postgresql_limit_reached', hint: 'the server is out of memory; lower its settings or what else runs there' },
  '53300': { code: 'postgresql_limit_reached', hint: 'raise max_connections or max_wal_senders at the server, or end connections' },
  '53400': { code: 'postgresql_limit_reached', hint: 'raise max_replication_slots at the server, or drop slots that nobody uses' },
  '55006': { code: 'postgresql_busy', hint: 'somebody else uses it; see pg_replication_slots and pg_stat_activity' },
  '55P03': { code: 'postgresql_busy' },
  '40P01': { code: 'postgresql_busy' },
  '57014': { code: 'postgresql_busy', hint: 'somebody cancelled the statement, or it took longer than its limit; allow a longer time' },
  '25P03': { code: 'postgresql_busy', hint: 'the session waited longer than the server allows; raise idle_in_transaction_session_timeout' },
  '57P01': { code: 'postgresql_interrupted' },
  '57P02': { code: 'postgresql_interrupted' },
  '57P03': { code: 'postgresql_unreachable', hint: 'the server starts, stops or recovers; it is tried again' },
  '57P04': { code: 'postgresql_not_found', hint: 'the database was dropped meanwhile' },
  '57P05': { code: 'postgresql_interrupted', hint: 'the session waited longer than the server allows; raise idle_session_timeout' },
  '58030': { code: 'postgresql_failed', retry: 'later', hint: 'the server cannot read or write its disk; see its log' },
};

/** What these mean to a reader of WAL: the log went on without us, or is another one. No later attempt can mend that. */
const whileReadingWal: Readonly<Record<string, Rule>> = {
  '58P01': { code: 'postgresql_wal_lost' },
  '55000': { code: 'postgresql_wal_lost' },
  '42704': { code: 'postgresql_wal_lost' },
};
/** Raises, without a SQLSTATE of its own, that the place asked for is in none of the server's timelines, or ahead of it. */
const startRoutine = 'StartReplication';

const whileBackingUp: Readonly<Record<string, Rule>> = {
  '42501': {
    code: 'postgresql_denied',
    hint: 'give the role REPLICATION; when the message names a file, give that file back to the server: it cannot read it itself',
  },
  // The standby that was backed up has been promoted, or its full_page_writes was off; or another backup was asked for.
  '55000': { code: 'postgresql_interrupted', hint: 'see what the message says; it is tried again' },
  '58P01': { code: 'postgresql_interrupted', hint: 'see what the message says; it is tried again' },
};

/** The manifest is of another cluster or timeline, or the server has no summaries of what came since. */
const incrementalRoutines: ReadonlySet<string> = new Set(['manifest_report_error', 'PrepareForIncrementalBackup']);
const withoutSummaries: Rule = {
  code: 'postgresql_wal_lost',
  hint: 'take a full backup: the server cannot make an incremental one on top of the last',
};

/** Translates what the server said. Never holds a password: no message of the server does. */
export function serverError(complaint: ServerComplaint, at: ErrorPlace): HoldfastError {
  const { sqlState, message } = complaint;
  const context = { server: at.place, sqlState, ...(complaint.routine === undefined ? {} : { routine: complaint.routine }) };
  const said = `${at.place}: ${message}`;
  const missing = missingSetting(complaint, at);
  if (missing !== null) return new HoldfastError('postgresql_setting_missing', said, { context, hint: missing });
  if (sqlState === '28000' && complaint.routine === 'ClientAuthentication') {
    const kind = at.isReplication ? 'replication' : at.database;
    return new HoldfastError('postgresql_access_rule_missing', said, {
      context,
      hint: `add to pg_hba.conf, with the worker's address: host ${kind} ${at.user} <address>/32 scram-sha-256; then SELECT pg_reload_conf()`,
    });
  }
  if (at.isReplication && sqlState === '42501' && at.activity === 'connecting') {
    return new HoldfastError('postgresql_denied', said, { context, hint: `give the right: ALTER ROLE ${quoted(at.user)} REPLICATION` });
  }
  const rule = ruleFor(complaint, at.activity);
  return new HoldfastError(rule.code, said, {
    context,
    ...(rule.hint === undefined ? {} : { hint: rule.hint }),
    ...(rule.retry === undefined ? {} : { retry: rule.retry }),
  });
}

function ruleFor({ sqlState, routine }: ServerComplaint, activity: Activity): Rule {
  if (activity === 'reading_wal' && sqlState === 'XX000' && routine === startRoutine) return { code: 'postgresql_wal_lost' };
  if (activity === 'backing_up' && incrementalRoutines.has(routine ?? '')) return withoutSummaries;
  const special = activity === 'reading_wal' ? whileReadingWal : activity === 'backing_up' ? whileBackingUp : {};
  const found = special[sqlState] ?? bySqlState[sqlState];
  if (found !== undefined) return found;
  // Connection exceptions, and an operator who steps in.
  if (sqlState.startsWith('08') || sqlState.startsWith('57P')) return { code: 'postgresql_interrupted' };
  if (sqlState.startsWith('53')) return { code: 'postgresql_limit_reached' };
  return { code: 'postgresql_failed' };
}

const allowReplication =
  "ALTER SYSTEM SET wal_level = 'replica'; ALTER SYSTEM SET max_wal_senders = 10; ALTER SYSTEM SET max_replication_slots = 10";

/** What turns on what a physical backup needs and this server has not; null when it is something else. */
function missingSetting({ sqlState, routine, message }: ServerComplaint, at: ErrorPlace): string | null {
  // With wal_level = minimal there can be no sender: `… max_wal_senders (currently 0)`.
  const isWithoutSenders = sqlState === '53300' && at.isReplication && message.includes('max_wal_senders') && /\b0\b/u.test(message);
  const isMinimal = sqlState === '55000' && (routine === 'CheckSlotRequirements' || routine === 'do_pg_backup_start');
  if (isWithoutSenders || isMinimal) return `${allowReplication}; then restart the server`;
  if (sqlState === '55000' && routine === 'parse_basebackup_options') return 'ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf()';
  return null;
}

/** Names of OpenSSL's and Node's complaints about the other side's certificate. */
const certificateCode = /CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|ERR_SSL|CRL|ISSUER|CHAIN/u;
/** pg has no code for them. */
const withoutTls = /does not support SSL|establishing an SSL/u;
const withoutPassword = /client password must be/u;

/** Translates an error of the way to the server: names, sockets, TLS, timeouts; one of ours goes through as it is. */
export function connectionError(error: unknown, at: ErrorPlace): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const complaint = asComplaint(error);
  if (complaint !== null) return serverError(complaint, at);
  const code = errnoCode(error);
  const message = error instanceof Error ? firstLine(error.message) || (code ?? error.name) : String(error);
  const options = { context: { server: at.place, ...(code === undefined ? {} : { errno: code }) }, cause: error };
  if (withoutTls.test(message)) {
    return new HoldfastError('postgresql_tls_failed', `${at.place} does not offer TLS`, {
      ...options,
      hint: 'set ssl = on with a certificate at the server, or the mode of tls to disable on a network that is safe without',
    });
  }
  if (code !== undefined && certificateCode.test(code)) {
    return new HoldfastError('postgresql_tls_failed', `${at.place}: ${message}`, options);
  }
  if (withoutPassword.test(message)) {
    return new HoldfastError('postgresql_login_failed', `${at.place} asks for a password, and none is given`, {
      ...options,
      hint: 'give the password of this role',
    });
  }
  const isOpen = at.activity !== 'connecting';
  return new HoldfastError(isOpen ? 'postgresql_interrupted' : 'postgresql_unreachable', `${at.place}: ${message}`, options);
}

/** The fields of an error that pg made of the server's; null for any other. */
function asComplaint(error: unknown): ServerComplaint | null {
  if (!(error instanceof Error) || !('severity' in error)) return null;
  const sqlState = errnoCode(error);
  if (sqlState?.length !== 5) return null;
  const routine = 'routine' in error && typeof error.routine === 'string' ? error.routine : undefined;
  return { sqlState, message: error.message, routine };
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
