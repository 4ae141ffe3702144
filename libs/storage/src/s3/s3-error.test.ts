import { inspect } from 'node:util';
import { S3ServiceException } from '@aws-sdk/client-s3';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { silentConnection } from '../remote/http-agents.ts';
import type { StorageOperation } from '../storage.ts';
import { isNotImplemented, s3Error, type S3ErrorPlace } from './s3-error.ts';

/** Of a role: nobody but the SDK knows it. */
const roleToken = 'IQoJb3JpZ2luX2Vj/'.repeat(20);
const secrets = ['wJalrXUtnFEMI/K7MDENG', 'session+token=='];
const at = (operation: StorageOperation): S3ErrorPlace => ({
  operation,
  object: 'data/ab/abcd',
  location: 's3:https://host/backups',
  bucket: 'backups',
  region: 'us-east-1',
  secrets,
});

/** As the SDK makes them: fields of the answer beside its own, and the answer itself. */
function answer(name: string, status: number, more: object = {}, headers: Record<string, string> = {}): Error {
  const error = new S3ServiceException({
    name,
    message: 'the words',
    $fault: status < 500 ? 'client' : 'server',
    $metadata: { httpStatusCode: status },
  });
  Object.defineProperty(error, '$response', { value: { statusCode: status, headers }, enumerable: false });
  return Object.assign(error, more);
}

const network = (code: string): Error => Object.assign(new Error(`it was ${code}`), { code });

describe('an error of S3', () => {
  it.each<[string, number, StorageOperation, string]>([
    ['NoSuchKey', 404, 'get', 'storage_object_missing'],
    ['NotFound', 404, 'stat', 'storage_object_missing'],
    ['NoSuchKey', 404, 'put', 'storage_unreachable'],
    ['NotFound', 404, 'list', 'storage_denied'],
    ['NoSuchBucket', 404, 'get', 'storage_denied'],
    ['NoSuchBucket', 404, 'delete', 'storage_denied'],
    ['PreconditionFailed', 412, 'put', 'storage_object_exists'],
    ['ConditionalRequestConflict', 409, 'put', 'storage_unreachable'],
    ['OperationAborted', 409, 'put', 'storage_unreachable'],
    ['SomethingElse', 409, 'delete', 'storage_unreachable'],
    ['InvalidRange', 416, 'get', 'storage_object_too_short'],
    ['EntityTooLarge', 413, 'put', 'storage_full'],
    ['QuotaExceeded', 403, 'put', 'storage_full'],
    ['InsufficientStorage', 507, 'put', 'storage_full'],
    ['XMinioStorageFull', 507, 'put', 'storage_full'],
    ['AccessDenied', 403, 'put', 'storage_denied'],
    ['SignatureDoesNotMatch', 403, 'get', 'storage_denied'],
    ['InvalidAccessKeyId', 403, 'get', 'storage_denied'],
    ['ExpiredToken', 400, 'get', 'storage_denied'],
    ['RequestTimeTooSkewed', 403, 'get', 'storage_denied'],
    ['InvalidObjectState', 403, 'get', 'storage_denied'],
    ['KMS.DisabledException', 400, 'put', 'storage_denied'],
    ['NotImplemented', 501, 'put', 'storage_denied'],
    ['MethodNotAllowed', 405, 'delete', 'storage_denied'],
    ['SlowDown', 503, 'put', 'storage_unreachable'],
    ['ServiceUnavailable', 503, 'list', 'storage_unreachable'],
    ['InternalError', 500, 'get', 'storage_unreachable'],
    ['RequestTimeout', 400, 'put', 'storage_unreachable'],
    ['BadDigest', 400, 'put', 'storage_unreachable'],
    ['XAmzContentSHA256Mismatch', 400, 'put', 'storage_unreachable'],
    ['TemporaryRedirect', 307, 'put', 'storage_unreachable'],
    ['PermanentRedirect', 301, 'put', 'storage_denied'],
    ['Unknown', 403, 'stat', 'storage_denied'],
    ['Unknown', 302, 'stat', 'storage_denied'],
    ['Error', 502, 'get', 'storage_unreachable'],
    ['TooManyParts', 429, 'get', 'storage_unreachable'],
    ['constructor', 500, 'get', 'storage_unreachable'],
  ])('%s with status %i of %s is %s', (name, status, operation, code) => {
    const error = s3Error(answer(name, status), at(operation));
    expect(error.code).toBe(code);
    expect(error.context).toMatchObject({ object: 'data/ab/abcd', location: 's3:https://host/backups', status });
    expect(error.message).toContain(['Unknown', 'Error'].includes(name) ? `HTTP ${status}` : name);
  });

  it.each([
    ['ECONNRESET', 'storage_unreachable'],
    ['ECONNREFUSED', 'storage_unreachable'],
    ['ENOTFOUND', 'storage_unreachable'],
    ['EAI_AGAIN', 'storage_unreachable'],
    ['ETIMEDOUT', 'storage_unreachable'],
    ['EPIPE', 'storage_unreachable'],
    ['HPE_INVALID_CONSTANT', 'storage_unreachable'],
    ['ERR_STREAM_PREMATURE_CLOSE', 'storage_unreachable'],
    ['CERT_HAS_EXPIRED', 'storage_denied'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'storage_denied'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'storage_denied'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'storage_denied'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'storage_denied'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'storage_denied'],
  ])('%s is %s', (errno, code) => {
    expect(s3Error(network(errno), at('get'))).toMatchObject({ code, context: { errno, object: 'data/ab/abcd' } });
  });

  it('says where a bucket really is', () => {
    const errors = [
      answer('PermanentRedirect', 301, {}, { 'x-amz-bucket-region': 'eu-west-1' }),
      answer('AuthorizationHeaderMalformed', 400, { Region: 'eu-west-1' }),
      answer('AuthorizationHeaderMalformed', 400, { message: "the region 'us-east-1' is wrong; expecting 'eu-west-1'" }),
      answer('Unknown', 301, {}, { 'x-amz-bucket-region': 'eu-west-1' }),
      answer('Unknown', 400, {}, { 'x-amz-bucket-region': 'eu-west-1' }),
    ];
    for (const error of errors) {
      expect(s3Error(error, at('get'))).toMatchObject({
        code: 'storage_denied',
        message: expect.stringContaining('the bucket backups is in the region eu-west-1'),
        hint: 'give the region eu-west-1',
      });
    }
  });

  it('is not about the region when a server only says where its bucket is', () => {
    const error = s3Error(answer('ExpiredToken', 400, {}, { 'x-amz-bucket-region': 'us-east-1' }), at('list'));
    expect(error.message).toContain('ExpiredToken: the words');
  });

  it('names an object lock that refuses a delete, and only that', () => {
    const locked = { message: 'Access Denied because object protected by object lock.' };
    const error = s3Error(answer('AccessDenied', 403, locked), at('delete'));
    expect(error).toMatchObject({
      code: 'storage_object_held',
      message: expect.stringContaining('the object is protected by an object lock'),
      context: { freeAt: null },
    });
    expect(s3Error(answer('AccessDenied', 403), at('delete')).message).not.toContain('lock');
    expect(s3Error(answer('InvalidRequest', 400, locked), at('put')).message).not.toContain('the object is protected');
  });

  it('is passing when the SDK has set its clock by that of the server', () => {
    const skewed = answer('RequestTimeTooSkewed', 403);
    Object.assign(skewed, { $metadata: { httpStatusCode: 403, clockSkewCorrected: true } });
    expect(s3Error(skewed, at('get')).code).toBe('storage_unreachable');
  });

  it('learns where it was when it is one of ours, once', () => {
    const error = s3Error(silentConnection(3000), at('get'));
    expect(error).toMatchObject({ code: 'storage_unreachable', context: { idleTimeoutMs: 3000, object: 'data/ab/abcd' } });
    expect(s3Error(error, at('put'))).toBe(error);
  });

  it('is a defect of ours when nobody else can have made it, with its stack', () => {
    const error = s3Error(new TypeError('no function'), at('get'));
    expect(error).toMatchObject({ code: 'internal', message: expect.stringContaining('TypeError: no function') });
    expect(error.stack).toContain('s3-error.test.ts');
  });

  it('knows the server that does not do what a header asks', () => {
    expect(isNotImplemented(answer('NotImplemented', 501))).toBe(true);
    expect(isNotImplemented(answer('Unknown', 501))).toBe(true);
    expect(isNotImplemented(answer('PreconditionFailed', 412))).toBe(false);
    expect(isNotImplemented(network('ECONNRESET'))).toBe(false);
  });

  it('keeps no secret, whatever the server says back', () => {
    const told = `no ${secrets.join(' and ')} ${roleToken} AWS4-HMAC-SHA256 Credential=AKIA/20260101, Signature=abc\u001b[31m`;
    const more = { message: told, StringToSign: told, CanonicalRequest: told, SignatureProvided: told, Error: { Message: told } };
    const errors = [
      answer('SignatureDoesNotMatch', 403, more, { authorization: told }),
      answer('Unknown', 502, more),
      Object.assign(network('ECONNRESET'), { message: told, request: { headers: { authorization: told } } }),
      Object.assign(new TypeError(told), { config: { secretAccessKey: secrets[0] } }),
    ];
    for (const error of errors) {
      const seen = inspect(s3Error(error, at('get')), { depth: null, showHidden: true });
      for (const secret of [...secrets, 'IQoJb3', 'Signature=', 'AWS4-HMAC', '\u001b']) expect(seen).not.toContain(secret);
    }
    expect(s3Error(errors[0], at('get')).message.length).toBeLessThan(500);
    expect(s3Error(errors[0], at('get'))).toBeInstanceOf(HoldfastError);
  });
});
