import { errnoCode } from '@holdfast/errors/errno-code';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Errors of `pg`, of its socket and of the server as ours. SQLSTATEs are five characters (appendix A of PostgreSQL's manual); errors of
 * the client have a code of the operating system or of TLS, or only a message.
 */
const codeBySqlstate: readonly (readonly [pattern: RegExp, code: ErrorCode])[] = [
  [/^(28...|3D000)$/u, 'postgresql_login_failed'],
  // Connection lost, too many of them, out of memory or disk, shutting down, crashed, starting.
  [/^(08...|53...|57P0[1-5]|58030)$/u, 'postgresql_unreachable'],
  [/^(55P03|40P01|57014|25P0[34])$/u, 'postgresql_busy'],
  [/^42501$/u, 'postgresql_denied'],
  [/^(42P01|3F000|XX000:gone)$/u, 'postgresql_changed'],
];

const tlsMessages =
  /certificate|self.signed|does not support SSL|ERR_TLS|CERT_|altnames|SSL routines|unable to (get|verify)|wrong version number/iu;
const loginMessages = /SASL|SCRAM|password must be/u;
const lostMessages =
  /connection terminated|closed the connection|connection error|connection ended|not queryable|timeout expired|timeout exceeded/iu;

export interface ErrorPlace {
  /** What was being done, for the message: `copying public.orders`. */
  readonly action: string;
  /** Where: connectionPlace and the database. Holds no secret. */
  readonly place: string;
  readonly hint?: string | undefined;
}

/** Ours as they are; others with the place and the server's own words, which never hold a password. */
export function translateSessionError(error: unknown, { action, place, hint }: ErrorPlace): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const state = errnoCode(error) ?? '';
  const code = codeOf(state, messageOf(error));
  const said = [messageOf(error), detailOf(error)].filter((part) => part !== '').join('; ');
  return new HoldfastError(code, `${action} at ${place} failed: ${said}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
    context: { sqlstate: state },
  });
}

function codeOf(state: string, message: string): ErrorCode {
  const known = codeBySqlstate.find(([pattern]) => pattern.test(state));
  if (known !== undefined) return known[1];
  if (tlsMessages.test(state) || tlsMessages.test(message)) return 'postgresql_tls_failed';
  if (loginMessages.test(message)) return 'postgresql_login_failed';
  if (/^E[A-Z]+(_AGAIN)?$/u.test(state) || lostMessages.test(message)) return 'postgresql_unreachable';
  return 'postgresql_failed';
}

/** One line: the server's messages may have several. */
function messageOf(error: unknown): string {
  // Refused at each of a name's addresses: an AggregateError without a message.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll(/\s*\n\s*/gu, ' ').trim();
}

/** DETAIL of constraint errors holds values of rows, which are nobody's business in a log; of others it says which object. */
function detailOf(error: unknown): string {
  const state = errnoCode(error) ?? '';
  if (typeof error !== 'object' || error === null || !('detail' in error) || /^(22|23)/u.test(state)) return '';
  return typeof error.detail === 'string' ? error.detail.replaceAll(/\s*\n\s*/gu, ' ') : '';
}
