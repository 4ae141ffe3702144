import { inspect } from 'node:util';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, it } from 'vitest';
import { gcpAnswerError, gcpConnectionError, gcpTokenError } from './gcp-storage-error.ts';

const place = { what: 'data/ab/cd', location: 'gcp_storage:https://storage.googleapis.com/backups' };
const refusal = (status: number, reason: string, message: string) => ({
  status,
  body: Buffer.from(JSON.stringify({ error: { code: status, message, errors: [{ domain: 'global', reason, message }] } })),
});

it.each<[status: number, reason: string, message: string, code: ErrorCode]>([
  [400, 'invalid', `Provided MD5 hash "a" doesn't match calculated MD5 hash "b".`, 'storage_unreachable'],
  [400, 'invalid', 'Invalid argument.', 'storage_denied'],
  [401, 'authError', 'Invalid Credentials', 'storage_denied'],
  [403, 'forbidden', 'a@b does not have storage.objects.create access', 'storage_denied'],
  [403, 'accountDisabled', 'The project is disabled', 'storage_denied'],
  [403, 'rateLimitExceeded', 'slow down', 'storage_unreachable'],
  [403, 'userRateLimitExceeded', 'slow down', 'storage_unreachable'],
  [403, 'quotaExceeded', 'enough', 'storage_full'],
  [403, 'retentionPolicyNotMet', 'too early', 'storage_denied'],
  [404, 'notFound', 'No such object: backups/data/ab/cd', 'storage_object_missing'],
  [404, 'notFound', 'The specified bucket does not exist.', 'storage_denied'],
  [408, 'uploadBrokenConnection', 'gone', 'storage_unreachable'],
  [409, 'conflict', 'another one is at it', 'storage_unreachable'],
  [412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.', 'storage_object_exists'],
  [412, 'orgPolicyConstraintFailed', 'not here', 'storage_denied'],
  [413, 'uploadTooLarge', 'too large', 'storage_full'],
  [416, 'requestedRangeNotSatisfiable', 'too far', 'storage_object_too_short'],
  [429, 'rateLimitExceeded', 'slow down', 'storage_unreachable'],
  [429, 'quotaExceeded', 'enough', 'storage_full'],
  [500, 'backendError', 'oops', 'storage_unreachable'],
  [503, 'backendError', 'oops', 'storage_unreachable'],
])('takes %i %s (%s) for %s', (status, reason, message, code) => {
  const error = gcpAnswerError(refusal(status, reason, message), place);
  expect(error.code).toBe(code);
  expect(error.message).toBe(`${place.what} at ${place.location}: ${String(status)} ${reason} ${message}`);
  expect(error.context).toEqual({ object: place.what, location: place.location, status, serverCode: reason });
});

it('goes by the status where the body says nothing', () => {
  for (const body of ['', '<html>Bad Gateway</html>', '{}', '[1]', '{"error":{}}', '\xff']) {
    expect(gcpAnswerError({ status: 502, body: Buffer.from(body) }, place).code).toBe('storage_unreachable');
    expect(gcpAnswerError({ status: 404, body: Buffer.from(body) }, place).code).toBe('storage_object_missing');
    expect(gcpAnswerError({ status: 302, body: Buffer.from(body) }, place).code).toBe('storage_denied');
  }
});

it('tells a key that is refused from a token server that is not well', () => {
  const answer = (status: number) => ({
    status,
    body: Buffer.from('{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'),
  });
  const refused = gcpTokenError(answer(400), place);
  expect(refused).toMatchObject({ code: 'storage_denied', context: { serverCode: 'invalid_grant' } });
  expect(refused.message).toContain('invalid_grant Invalid JWT Signature.');
  expect(refused.hint).toContain('clock');
  for (const status of [408, 429, 500, 503]) expect(gcpTokenError(answer(status), place).code).toBe('storage_unreachable');
  for (const status of [401, 403, 404]) expect(gcpTokenError(answer(status), place).code).toBe('storage_denied');
});

it.each([
  ['ECONNRESET', 'storage_unreachable'],
  ['ECONNREFUSED', 'storage_unreachable'],
  ['ENOTFOUND', 'storage_unreachable'],
  ['EAI_AGAIN', 'storage_unreachable'],
  ['EPIPE', 'storage_unreachable'],
  ['EPROTO', 'storage_unreachable'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'storage_denied'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'storage_denied'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'storage_denied'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'storage_denied'],
  ['CERT_HAS_EXPIRED', 'storage_denied'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'storage_denied'],
])('takes a connection that ends with %s for %s', (errno, code) => {
  const error = gcpConnectionError(Object.assign(new Error('it ended'), { code: errno }), place);
  expect(error).toMatchObject({ code, context: { object: place.what, location: place.location, errno } });
});

it('keeps the word of the watch over silent connections', () => {
  const silent = new HoldfastError('storage_unreachable', 'nothing moved', { context: { idleTimeoutMs: 5 } });
  const error = gcpConnectionError(silent, place);
  expect(error).toMatchObject({ code: 'storage_unreachable', context: { object: place.what, idleTimeoutMs: 5 } });
});

it('passes on neither tokens nor keys nor lines that a server echoes', () => {
  const secret = `ya29.c.${'Ab-_9'.repeat(40)}`;
  const error = gcpAnswerError(refusal(403, 'forbidden', `no:\r\nBearer ${secret}\x1b[2J ${'long '.repeat(200)}`), place);
  const shown = inspect(error, { depth: Infinity, showHidden: true });
  expect(shown).not.toContain(secret);
  expect(shown).not.toContain('Ab-_9Ab-_9');
  for (const control of ['\r', '\n', '\u001b']) expect(error.message).not.toContain(control);
  expect(error.message.length).toBeLessThan(500);
  expect(error.cause).toBeUndefined();
});
