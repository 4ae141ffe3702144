import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { codeOfHttpStatus } from '../remote/http-status-code.ts';
import { readJson } from '../remote/http-request.ts';

/**
 * What an answer of the JSON API means for a storage. A refusal has this body (cloud.google.com/storage/docs/json_api/v1/status-codes):
 *
 *     { "error": { "code": 412, "message": "…", "errors": [{ "domain": "global", "reason": "conditionNotMet", "message": "…" }] } }
 *
 * The token server says `{ "error": "invalid_grant", "error_description": "…" }`. Errors made here hold what the server said, in short
 * and without long runs of letters as tokens and keys are, and nothing of the request.
 */
export interface GcpAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export interface GcpErrorPlace {
  /** An object's name, a prefix, or what else was asked for, as a person reads it. */
  readonly what: string;
  readonly location: string;
}

const apiErrorSchema = z.object({
  error: z.object({
    message: z.string().optional(),
    errors: z.array(z.object({ reason: z.string().optional(), message: z.string().optional() })).optional(),
  }),
});
const tokenErrorSchema = z.object({ error: z.string(), error_description: z.string().optional() });

/** The status alone would mislead for these reasons. */
const codesOfReasons: Readonly<Record<string, ErrorCode>> = {
  // With 403 or 429: too much at once, it passes.
  rateLimitExceeded: 'storage_unreachable',
  userRateLimitExceeded: 'storage_unreachable',
  'usageLimits.rateLimitExceeded': 'storage_unreachable',
  // With 403: no more until somebody raises it.
  quotaExceeded: 'storage_full',
  // With 412, as a condition of ours that did not hold.
  orgPolicyConstraintFailed: 'storage_denied',
};

/** What a person does about a refusal, beside what the server said. */
const hintsOfReasons: Readonly<Record<string, string>> = {
  retentionPolicyNotMet: 'the object is kept until its time of retention is over; cleaning up takes it then',
  objectUnderActiveHold: 'somebody holds the object at the bucket; release the hold there',
  invalid_grant: "check the service account's key, that it is not disabled or deleted, and the clock of the worker",
};

const maxToldLength = 300;
/** Shorter runs are names and ids. */
const longRun = /[\w+/=.-]{80,}/gu;
// oxlint-disable-next-line no-control-regex -- what a server says goes into one line of a log
const controlCharacters = /[\0-\x1f\x7f]+/gu;

/** A refusal of the API, translated. A missing bucket is storage_denied: it is nothing that a verification could tell more of. */
export function gcpAnswerError(answer: GcpAnswer, { what, location }: GcpErrorPlace): HoldfastError {
  const { reason, message } = wordsOf(answer.body);
  const { status } = answer;
  const told = [String(status), reason, message].filter((word) => word !== undefined && word !== '').join(' ');
  const context = { object: what, location, status, ...(reason === undefined ? {} : { serverCode: reason }) };
  const hint = hintOf(reason);
  return new HoldfastError(codeOf(status, reason, message), `${what} at ${location}: ${told}`, { context, ...hint });
}

/** As gcpAnswerError, for a server of tokens, which refuses with 400 what a person must mend. */
export function gcpTokenError(answer: GcpAnswer, { what, location }: GcpErrorPlace): HoldfastError {
  const { status } = answer;
  const { reason, message } = wordsOf(answer.body);
  const code = status >= 500 || status === 429 || status === 408 ? 'storage_unreachable' : 'storage_denied';
  const told = [String(status), reason, message].filter((word) => word !== undefined && word !== '').join(' ');
  const context = { object: what, location, status, ...(reason === undefined ? {} : { serverCode: reason }) };
  return new HoldfastError(code, `no token for ${location}: ${told}`, { context, ...hintOf(reason) });
}

/** A connection's end, translated: a certificate that does not verify stays so until somebody mends it, all else may pass. */
export function gcpConnectionError(error: unknown, { what, location }: GcpErrorPlace): HoldfastError {
  if (error instanceof HoldfastError) {
    // The watch over silent connections does not know what they were for.
    const context = { ...error.context, object: what, location };
    return new HoldfastError(error.code, `${what} at ${location}: ${error.message}`, { context });
  }
  const errno = errnoCode(error) ?? 'unknown';
  const isCertificate = certificateCodes.test(errno);
  const context = { object: what, location, errno };
  return new HoldfastError(isCertificate ? 'storage_denied' : 'storage_unreachable', `${what} at ${location}: ${errno}`, {
    context,
    ...(isCertificate
      ? { hint: 'check the certificate of the server, the name in the endpoint, and the caCertificate that is given' }
      : {}),
  });
}

/** Names that OpenSSL and Node give to a chain or a name that does not verify. */
const certificateCodes = /CERT|SIGNATURE|ISSUER|^CRL_|^HOSTNAME_MISMATCH$|^INVALID_(?:CA|PURPOSE)$|^PATH_LENGTH_EXCEEDED$/u;

function codeOf(status: number, reason: string | undefined, message: string | undefined): ErrorCode {
  const byReason = reason === undefined ? undefined : codesOfReasons[reason];
  if (byReason !== undefined) return byReason;
  // What came was not what was sent: the next try sends it anew.
  if (status === 400 && /doesn't match calculated/u.test(message ?? '')) return 'storage_unreachable';
  // Another call works on the same name; the next try learns how it went.
  if (status === 409) return 'storage_unreachable';
  if (status === 404 && /bucket does not exist/iu.test(message ?? '')) return 'storage_denied';
  // A redirect, followed nowhere: the endpoint is not the API's.
  if (status >= 300 && status < 400) return 'storage_denied';
  return codeOfHttpStatus(status);
}

function hintOf(reason: string | undefined): { readonly hint?: string } {
  const hint = reason === undefined ? undefined : hintsOfReasons[reason];
  return hint === undefined ? {} : { hint };
}

function wordsOf(body: Uint8Array): { readonly reason: string | undefined; readonly message: string | undefined } {
  const parsed = readJson(body);
  const api = apiErrorSchema.safeParse(parsed);
  if (api.success) {
    const [first] = api.data.error.errors ?? [];
    return { reason: asName(first?.reason), message: shortened(api.data.error.message ?? first?.message) };
  }
  const token = tokenErrorSchema.safeParse(parsed);
  if (token.success) return { reason: asName(token.data.error), message: shortened(token.data.error_description) };
  return { reason: undefined, message: undefined };
}

/** Reasons are single words; another text is none. */
function asName(text: string | undefined): string | undefined {
  return text !== undefined && /^[\w.-]{1,60}$/u.test(text) ? text : undefined;
}

function shortened(text: string | undefined): string | undefined {
  return text?.replace(controlCharacters, ' ').replace(longRun, '…').slice(0, maxToldLength);
}
