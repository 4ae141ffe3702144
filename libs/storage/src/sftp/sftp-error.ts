import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** Answers of version 3 of the protocol, and those of later versions that servers give all the same. */
export const sftpStatus = { endOfFile: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, badMessage: 5, unsupported: 8 } as const;

/** Anything that is not here may pass: storage_unreachable. So may a bare failure (4), as which servers tell of all else. */
const codes: Readonly<Record<number, ErrorCode>> = {
  1: 'storage_object_too_short',
  2: 'storage_object_missing',
  3: 'storage_denied',
  // As which OpenSSH tells of a name that is too long or no name for the file system.
  5: 'storage_denied',
  8: 'storage_denied',
  10: 'storage_object_missing',
  11: 'storage_object_exists',
  12: 'storage_denied',
  14: 'storage_full',
  15: 'storage_full',
  19: 'storage_denied',
  20: 'storage_denied',
  21: 'storage_denied',
};

/** What servers write beside a bare failure, when they write more than that. */
const codesOfFailures: readonly (readonly [RegExp, ErrorCode])[] = [
  [/no space|disk (?:is )?full|quota|file too large/iu, 'storage_full'],
  [/read-only file system|not permitted|permission denied/iu, 'storage_denied'],
];
/** A server's own words, in a message. */
const maxQuotedLength = 200;

/** The number with which the server answered a request; undefined for any other error. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || error instanceof HoldfastError || !('code' in error)) return undefined;
  return typeof error.code === 'number' ? error.code : undefined;
}

/** Translates what a request on `what` (an object's name or a folder) failed with. Errors of ours go through, with `what` in their context. */
export function sftpError(error: unknown, what: string, location: string): unknown {
  if (error instanceof HoldfastError) return withObject(error, what, location);
  const status = statusOf(error);
  if (status === undefined) return error;
  const said = quoted(error);
  const code = codes[status] ?? codesOfFailures.find(([pattern]) => pattern.test(said))?.[1] ?? 'storage_unreachable';
  return new HoldfastError(code, `${what} at ${location}: ${said} (SFTP status ${String(status)})`, {
    context: { object: what, location, status },
    cause: error,
  });
}

/** The server's or the library's own words, in one line of a length that a message can take. */
export function quoted(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // oxlint-disable-next-line no-control-regex -- they come from the server and are on their way to a log
  return text.replaceAll(/[\0-\x1f\x7f]+/gu, ' ').slice(0, maxQuotedLength);
}

/** A lost connection fails many calls at once and knows none of their objects. */
function withObject(error: HoldfastError, what: string, location: string): HoldfastError {
  if ('object' in error.context) return error;
  const { code, hint, retry } = error;
  return new HoldfastError(code, `${what} at ${location}: ${error.message}`, {
    hint,
    retry,
    context: { ...error.context, object: what, location },
    cause: error,
  });
}
