import { isRestError, type RestError } from '@azure/storage-blob';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { codeOfHttpStatus } from '../remote/http-status-code.ts';

/**
 * What Azure Blob Storage means when it says no. The service has a name for each of its errors, in the header x-ms-error-code; only
 * without one the status counts. Errors of Azure's client carry the request, whose address holds the SAS and whose headers the
 * signature, and the service's texts tell what was signed: nothing of them is kept but names that are known to be names.
 */
const errorCodeHeader = 'x-ms-error-code';
const requestIdHeader = 'x-ms-request-id';
const serverCodePattern = /^[A-Za-z][A-Za-z0-9]{0,63}$/u;
const requestIdPattern = /^[\w-]{1,64}$/u;

/** Names that do not ask for a person. */
const codes: Readonly<Record<string, ErrorCode>> = {
  BlobNotFound: 'storage_object_missing',
  BlobAlreadyExists: 'storage_object_exists',
  ConditionNotMet: 'storage_object_exists',
  // To a SAS that may create and not replace.
  UnauthorizedBlobOverwrite: 'storage_object_exists',
  InvalidRange: 'storage_object_too_short',
  // Azurite's only word for it; the service itself has no end that an account would meet.
  MemoryExtentStoreAtSizeLimit: 'storage_full',
  ServerBusy: 'storage_unreachable',
  OperationTimedOut: 'storage_unreachable',
  InternalError: 'storage_unreachable',
  SystemInUse: 'storage_unreachable',
  AccountBeingCreated: 'storage_unreachable',
  ContainerBeingDeleted: 'storage_unreachable',
  // Other bytes arrived than were sent.
  Md5Mismatch: 'storage_unreachable',
  Crc64Mismatch: 'storage_unreachable',
};

/** Names that do, and what is missing. */
const refusals: Readonly<Record<string, string>> = {
  AuthenticationFailed: "the key or the SAS is not the account's, the SAS has expired, or the worker's clock is wrong",
  InvalidAuthenticationInfo: 'the key, the SAS or the token is not one that the service takes',
  NoAuthenticationInformation: 'the service saw neither key nor SAS',
  AuthorizationFailure: 'the SAS has expired, or the network rules of the account do not let the worker in',
  AuthorizationPermissionMismatch:
    'a right is missing: a SAS needs rcdl (read, create, delete, list), and i for immutability; an identity needs a role such as Storage Blob Data Contributor',
  InsufficientAccountPermissions: 'the account may not be written to, or not by this key',
  AuthorizationProtocolMismatch: 'the SAS is for https only',
  AuthorizationSourceIPMismatch: 'the SAS is for other addresses than the one that the worker comes from',
  AuthorizationServiceMismatch: 'the SAS is not for blobs: an account SAS needs ss=b',
  AuthorizationResourceTypeMismatch: 'the SAS is not for containers and their blobs: an account SAS needs srt=co',
  KeyBasedAuthenticationNotPermitted:
    'the account takes no account keys; give an application of Entra ID, or a SAS that is signed for a user',
  ContainerNotFound: 'there is no such container; make it first',
  ContainerDisabled: 'the container is disabled',
  AccountIsDisabled: 'the account is disabled',
  ResourceNotFound: 'there is no such account or container',
  BlobImmutableDueToPolicy: 'an immutability policy or a legal hold keeps the blob as it is',
  SnapshotsPresent: 'the blob has snapshots, which have to be deleted first',
  LeaseIdMissing: 'somebody holds a lease on the blob',
  BlobArchived: 'the blob is in the archive tier; bring it back to an online tier first',
  BlobBeingRehydrated: 'the blob is on its way back from the archive tier, which takes hours',
  BlobAccessTierNotSupportedForAccountType: 'the account has no access tiers; leave out accessTier',
};

const notAzure = 'no Azure Blob Storage answers there; check account and endpoint';
const sentElsewhere = 'the answer sends elsewhere, where Holdfast does not follow; check the endpoint';

/** Codes of Node and OpenSSL for a certificate that does not verify: they stay until somebody mends it. */
const certificatePattern =
  /^(?:CERT_|UNABLE_TO_(?:GET|VERIFY|DECRYPT|DECODE)_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_|ERR_TLS_CERT_)/u;

/** Translates what Azure's client threw while it worked on `what` (an object's name or a folder); an error of ours goes through. */
export function azureBlobError(error: unknown, what: string, location: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const place: Place = { what, location };
  if (isRestError(error)) return error.statusCode === undefined ? lineError(error, place) : answerError(error, error.statusCode, place);
  return error instanceof Error && errnoCode(error) !== undefined ? lineError(error, place) : unexpectedError(error, place);
}

/** An answer that was understood and cannot be right, such as one without a length. It may come from something between. */
export function oddAnswer(what: string, location: string, how: string): HoldfastError {
  return new HoldfastError('storage_unreachable', `${what} at ${location}: ${how}`, { context: { object: what, location } });
}

interface Place {
  readonly what: string;
  readonly location: string;
}

function answerError(error: RestError, status: number, { what, location }: Place): HoldfastError {
  const headers = error.response?.headers;
  const serverCode = [headers?.get(errorCodeHeader), error.code].find((code) => code !== undefined && serverCodePattern.test(code));
  const requestId = headers?.get(requestIdHeader);
  const { code, why } = meaningOf(serverCode, status);
  const said = serverCode ?? `HTTP status ${String(status)}`;
  const context = {
    object: what,
    location,
    status,
    ...(serverCode === undefined ? {} : { serverCode }),
    ...(requestId !== undefined && requestIdPattern.test(requestId) ? { requestId } : {}),
  };
  return new HoldfastError(code, `${what} at ${location}: ${said}${why === undefined ? '' : `: ${why}`}`, { context });
}

function meaningOf(serverCode: string | undefined, status: number): { readonly code: ErrorCode; readonly why?: string } {
  if (status >= 300 && status < 400) return { code: 'storage_denied', why: sentElsewhere };
  if (serverCode !== undefined) {
    const code = codes[serverCode];
    if (code !== undefined) return { code };
    const why = refusals[serverCode];
    if (why !== undefined) return { code: 'storage_denied', why };
  }
  const code = codeOfHttpStatus(status);
  // The service names the object that is missing or there. What has no name for it is another server, or means something else.
  if (code === 'storage_object_missing' || code === 'storage_object_exists') {
    return { code: 'storage_denied', ...(serverCode === undefined ? { why: notAzure } : {}) };
  }
  return { code };
}

/** No answer, or not all of it. */
function lineError(error: Error, { what, location }: Place): HoldfastError {
  const errno = errnoCode(error);
  // Ours, from the watch over the connection: the client hands on its code and its text.
  if (errno === 'storage_unreachable') return oddAnswer(what, location, error.message);
  if (errno === undefined || !/^[A-Z][A-Z0-9_]{1,63}$/u.test(errno)) return unexpectedError(error, { what, location });
  // What a server that speaks no TLS makes of OpenSSL; other errors of the protocol are those of a bad line.
  const isPlain = errno === 'EPROTO' && error.message.includes('wrong version number');
  const code = isPlain || certificatePattern.test(errno) ? 'storage_denied' : 'storage_unreachable';
  const why = code === 'storage_denied' ? ': check the endpoint and its certificate, or give its authority as caCertificate' : '';
  return new HoldfastError(code, `${what} at ${location}: ${errno}${why}`, { context: { object: what, location, errno } });
}

/** Bodies that break off end with errors of many classes, and answers of other servers with a TypeError somewhere in the client. */
function unexpectedError(error: unknown, { what, location }: Place): HoldfastError {
  const name = error instanceof Error && /^\w{1,64}$/u.test(error.name) ? error.name : 'Error';
  return new HoldfastError('storage_unreachable', `${what} at ${location}: the answer broke off or was not understood (${name})`, {
    context: { object: what, location },
    ...(error instanceof Error ? { cause: framesOf(error, name) } : {}),
  });
}

/** Where an error was thrown, without its text and its fields. */
function framesOf(error: Error, name: string): Error {
  const copy = new Error(name);
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /u.test(line) && !/https?:/u.test(line));
  copy.stack = [name, ...frames].join('\n');
  return copy;
}
