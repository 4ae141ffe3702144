import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { Prisma } from '../generated/client.ts';
import { isJsonObject } from './json-object.ts';

/** Prisma's codes for: no server, wrong password, timed out, no database, connection closed, no connection or transaction in time (2). */
const unreachablePrismaCodes = new Set(['P1000', 'P1001', 'P1002', 'P1003', 'P1008', 'P1017', 'P2024', 'P2028', 'P2037']);

/** SQLSTATE classes 08 (connection) and 57P01-57P05 (shutting down, starting, dropped), 53300 (too many connections), 28 (sign-in). */
const unreachableSqlstate = /^(08...|57P0[1-5]|53300|28...|3D000|25P03)$/u;

const unreachableSocketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'ETIMEDOUT',
  'ENOENT',
  'EHOSTUNREACH',
  'EAI_AGAIN',
]);

/** What the driver adapter calls the same. */
const unreachableKinds = new Set([
  'DatabaseNotReachable',
  'ConnectionClosed',
  'SocketTimeout',
  'TlsConnectionError',
  'AuthenticationFailed',
  'DatabaseDoesNotExist',
  'DatabaseAccessDenied',
  'TooManyConnections',
]);

/** What `pg` says without a code when the server has gone away. */
const unreachableMessages =
  /connection terminated|server closed the connection|timeout exceeded when trying to connect|query read timeout|client has encountered a connection error|connection ended|not queryable/iu;

/**
 * A lost, refused or timed-out connection as `database_unreachable`; every other error as it is.
 * The driver's message may hold host and user but never the password.
 */
export function translateDatabaseError(error: unknown): unknown {
  if (isHoldfastError(error) || !isUnreachable(error)) return error;
  return new HoldfastError('database_unreachable', `the database cannot be reached: ${firstLine(error)}`, { cause: error });
}

/** True when PostgreSQL rolled the transaction back because of another one: it may simply be run again. */
export function isSerializationFailure(error: unknown): boolean {
  return chain(error).some(({ code }) => code === '40001' || code === '40P01' || code === 'P2034');
}

/** True when a transaction took longer than it may, or waited too long to begin: doing it again at once would be no better. */
export function isTransactionTimeout(error: unknown): boolean {
  return chain(error).some(({ code }) => code === 'P2028');
}

function isUnreachable(error: unknown): boolean {
  if (error instanceof Prisma.PrismaClientInitializationError) return true;
  return chain(error).some(
    ({ code, kind, message }) =>
      unreachableKinds.has(kind) ||
      unreachablePrismaCodes.has(code) ||
      unreachableSqlstate.test(code) ||
      unreachableSocketCodes.has(code) ||
      unreachableMessages.test(message),
  );
}

interface Link {
  readonly code: string;
  readonly kind: string;
  readonly message: string;
}

/** The error, what caused it, and what the driver adapter keeps in `meta` and `cause`; bounded, since causes may form a ring. */
function chain(error: unknown): readonly Link[] {
  const links: Link[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < 8 && isJsonObject(current); depth++) {
    const { code, originalCode, kind, message, originalMessage, meta, cause } = current;
    links.push({ code: text(code), kind: text(kind), message: text(message) });
    links.push({ code: text(originalCode), kind: '', message: text(originalMessage) });
    current = (isJsonObject(meta) ? meta['driverAdapterError'] : undefined) ?? cause;
  }
  return links;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.trim().split('\n').at(-1) ?? 'no reason given';
}
