import { inspect } from 'node:util';
import { RestError } from '@azure/storage-blob';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { azureBlobError } from './azure-blob-error.ts';

const secret = 'c2VjcmV0LW9mLXRoZS1hY2NvdW50';
type RestErrorOptions = NonNullable<ConstructorParameters<typeof RestError>[1]>;
type Answer = NonNullable<RestErrorOptions['response']>;

/** As the client makes it of an answer: with the whole request, its SAS and its signature. */
function answered(status: number, headers: Readonly<Record<string, string>>, bodyCode?: string): RestError {
  const request = {
    url: `https://a.blob.core.windows.net/c/config?sig=${secret}`,
    headers: { authorization: `SharedKey a:${secret}` },
  } as unknown as Answer['request'];
  const response = { status, request, headers: { get: (name: string) => headers[name] } } as unknown as Answer;
  const details = { authenticationErrorDetail: `the MAC signature ${secret} is not the same` };
  const options = { statusCode: status, request, response, ...(bodyCode === undefined ? {} : { code: bodyCode }) };
  return Object.assign(new RestError(`no: ${secret}`, options), { details });
}

function lost(code: string | undefined, message = `connect to ?sig=${secret} failed`): RestError {
  return new RestError(message, { ...(code === undefined ? {} : { code }), request: answered(0, {}).request as never });
}

describe('errors of Azure Blob Storage', () => {
  it.each([
    [404, 'BlobNotFound', 'storage_object_missing'],
    [409, 'BlobAlreadyExists', 'storage_object_exists'],
    [412, 'ConditionNotMet', 'storage_object_exists'],
    [403, 'UnauthorizedBlobOverwrite', 'storage_object_exists'],
    [416, 'InvalidRange', 'storage_object_too_short'],
    [409, 'MemoryExtentStoreAtSizeLimit', 'storage_full'],
    [503, 'ServerBusy', 'storage_unreachable'],
    [500, 'OperationTimedOut', 'storage_unreachable'],
    [500, 'InternalError', 'storage_unreachable'],
    [409, 'AccountBeingCreated', 'storage_unreachable'],
    [409, 'ContainerBeingDeleted', 'storage_unreachable'],
    [400, 'Md5Mismatch', 'storage_unreachable'],
    [403, 'AuthenticationFailed', 'storage_denied'],
    [403, 'AuthorizationFailure', 'storage_denied'],
    [403, 'AuthorizationPermissionMismatch', 'storage_denied'],
    [403, 'InsufficientAccountPermissions', 'storage_denied'],
    [403, 'KeyBasedAuthenticationNotPermitted', 'storage_denied'],
    [404, 'ContainerNotFound', 'storage_denied'],
    [404, 'ResourceNotFound', 'storage_denied'],
    [409, 'BlobImmutableDueToPolicy', 'storage_denied'],
    [409, 'SnapshotsPresent', 'storage_denied'],
    [412, 'LeaseIdMissing', 'storage_denied'],
    [409, 'BlobArchived', 'storage_denied'],
    [409, 'SomethingNew', 'storage_denied'],
    [412, 'SomethingNew', 'storage_denied'],
    [404, 'SomethingNew', 'storage_denied'],
    [400, 'InvalidHeaderValue', 'storage_denied'],
    [500, 'SomethingNew', 'storage_unreachable'],
    [429, 'SomethingNew', 'storage_unreachable'],
    [507, 'SomethingNew', 'storage_full'],
  ])('%i %s is %s, by the header and by the body', (status, serverCode, code) => {
    for (const error of [answered(status, { 'x-ms-error-code': serverCode, 'x-ms-request-id': 'a-1' }), answered(status, {}, serverCode)]) {
      const translated = azureBlobError(error, 'config', 'azure_blob:https://a/c');
      expect(translated).toMatchObject({ code, context: { object: 'config', location: 'azure_blob:https://a/c', status, serverCode } });
      expect(translated.message).toContain(serverCode);
      expectNoSecret(translated);
    }
  });

  it.each([
    [400, 'storage_denied'],
    [401, 'storage_denied'],
    [403, 'storage_denied'],
    // Another server than Azure's: no object of a repository may be taken for missing on its word.
    [404, 'storage_denied'],
    [409, 'storage_denied'],
    [412, 'storage_denied'],
    [301, 'storage_denied'],
    [307, 'storage_denied'],
    [200, 'storage_unreachable'],
    [408, 'storage_unreachable'],
    [502, 'storage_unreachable'],
    [503, 'storage_unreachable'],
  ])('%i without a name is %s', (status, code) => {
    for (const error of [answered(status, {}), answered(status, { 'x-ms-error-code': `${secret}=?` }, 'PARSE_ERROR')]) {
      expect(azureBlobError(error, 'config', 'azure_blob:https://a/c')).toMatchObject({ code });
      expectNoSecret(azureBlobError(error, 'config', 'azure_blob:https://a/c'));
    }
  });

  it.each([
    ['ECONNRESET', 'storage_unreachable'],
    ['ECONNREFUSED', 'storage_unreachable'],
    ['ENOTFOUND', 'storage_unreachable'],
    ['ETIMEDOUT', 'storage_unreachable'],
    ['EPROTO', 'storage_unreachable'],
    ['ERR_PROXY_TUNNEL', 'storage_unreachable'],
    ['PARSE_ERROR', 'storage_unreachable'],
    ['REQUEST_SEND_ERROR', 'storage_unreachable'],
    [undefined, 'storage_unreachable'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'storage_denied'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'storage_denied'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'storage_denied'],
    ['CERT_HAS_EXPIRED', 'storage_denied'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'storage_denied'],
  ])('without an answer %s is %s', (errno, code) => {
    const translated = azureBlobError(lost(errno), 'data/', 'azure_blob:https://a/c');
    expect(translated).toMatchObject({ code, context: { object: 'data/' } });
    expectNoSecret(translated);
  });

  it('knows a server that speaks no TLS', () => {
    const error = lost('EPROTO', 'write EPROTO 00:error:0A00010B:SSL routines::wrong version number:record.c');
    expect(azureBlobError(error, 'config', 'azure_blob:a')).toMatchObject({ code: 'storage_denied', context: { errno: 'EPROTO' } });
  });

  it('says what the watch over a connection said', () => {
    const translated = azureBlobError(lost('storage_unreachable', 'nothing moved on the connection for 30 ms'), 'config', 'azure_blob:a');
    expect(translated).toMatchObject({ code: 'storage_unreachable', message: expect.stringContaining('nothing moved') as string });
  });

  it('keeps of anything else where it was thrown, and nothing that was said', () => {
    const invalid = Object.assign(new TypeError(`Invalid URL: ${secret}`), { input: `https://a?sig=${secret}` });
    const aborted = Object.assign(new Error('The operation was aborted.'), { name: 'AbortError' });
    for (const error of [
      invalid,
      aborted,
      new RangeError(secret),
      secret,
      undefined,
      Object.assign(new Error(secret), { name: `${secret}=` }),
    ]) {
      const translated = azureBlobError(error, 'config', 'azure_blob:https://a/c');
      expect(translated.code).toBe('storage_unreachable');
      expectNoSecret(translated);
    }
    const { cause } = azureBlobError(invalid, 'config', 'azure_blob:https://a/c');
    expect((cause as Error).stack).toContain('azure-blob-error.test.ts');
  });

  it('leaves errors of ours', () => {
    const ours = new HoldfastError('internal', 'ours');
    expect(azureBlobError(ours, 'config', 'azure_blob:https://a/c')).toBe(ours);
  });
});

function expectNoSecret(error: Error): void {
  expect(inspect(error, { depth: Infinity, showHidden: true })).not.toContain(secret);
  expect(error.cause instanceof Error ? inspect(error.cause, { depth: Infinity, showHidden: true }) : '').not.toContain(secret);
}
