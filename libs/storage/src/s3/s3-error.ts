import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { codeOfHttpStatus } from '../remote/http-status-code.ts';
import type { StorageOperation } from '../storage.ts';

/**
 * Translates what the SDK throws. Its errors carry the request and the answer, with the headers that were signed and, of a signature
 * that does not match, the session token: nothing of them is kept but a few words.
 */
export interface S3ErrorPlace {
  readonly operation: StorageOperation;
  /** The object, or the prefix of a listing. */
  readonly object: string;
  readonly location: string;
  readonly bucket: string;
  /** As the options have it. */
  readonly region: string;
  /** Taken out of what the server says. */
  readonly secrets: readonly string[];
}

/** By the server's own name, which says more than the status. */
const codes: ReadonlyMap<string, ErrorCode> = new Map(
  Object.entries<ErrorCode>({
    NoSuchKey: 'storage_object_missing',
    NotFound: 'storage_object_missing',
    PreconditionFailed: 'storage_object_exists',
    InvalidRange: 'storage_object_too_short',
    EntityTooLarge: 'storage_full',
    QuotaExceeded: 'storage_full',
    InsufficientStorage: 'storage_full',
    XMinioStorageFull: 'storage_full',
    XMinioAdminBucketQuotaExceeded: 'storage_full',
    // Another put of the name is under way: the next try finds the object.
    ConditionalRequestConflict: 'storage_unreachable',
    OperationAborted: 'storage_unreachable',
    // What arrived was not what was sent.
    BadDigest: 'storage_unreachable',
    XAmzContentSHA256Mismatch: 'storage_unreachable',
    IncompleteBody: 'storage_unreachable',
    RequestTimeout: 'storage_unreachable',
    // A bucket younger than the name servers' memory.
    TemporaryRedirect: 'storage_unreachable',
    SlowDown: 'storage_unreachable',
    ServiceUnavailable: 'storage_unreachable',
    InternalError: 'storage_unreachable',
    Throttling: 'storage_unreachable',
    ThrottlingException: 'storage_unreachable',
    TooManyRequests: 'storage_unreachable',
    RequestLimitExceeded: 'storage_unreachable',
    BandwidthLimitExceeded: 'storage_unreachable',
    NoSuchBucket: 'storage_denied',
    PermanentRedirect: 'storage_denied',
    // Something that the options ask for and the server does not have.
    NotImplemented: 'storage_denied',
    CredentialsProviderError: 'storage_denied',
  }),
);

const hints: ReadonlyMap<string, string> = new Map(
  Object.entries({
    NoSuchBucket: 'make the bucket, or correct its name',
    SignatureDoesNotMatch: 'check the secret access key, and the region',
    InvalidAccessKeyId: 'check the access key: the server does not know it',
    ExpiredToken: 'give keys that do not expire, or new ones',
    RequestTimeTooSkewed: "set the worker's clock: it is more than a quarter of an hour off",
    NotImplemented: 'the server does not have what the options ask for: leave out storageClass, serverSideEncryption or objectLock',
    CredentialsProviderError: 'the worker has no role of its own here: give keys',
  }),
);

/** Certificates that do not verify, and servers that speak something else: they stay until somebody mends them. */
const tlsPattern =
  /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|CRL_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|ERR_TLS_CERT_|ERR_SSL_WRONG_VERSION|ERR_SSL_UNSUPPORTED|EPROTO$)/u;
const networkPattern = /^(?:E(?!RR_|PROTO$)[A-Z0-9_]+|HPE_\w+|ERR_(?:STREAM|SOCKET|SSL|HTTP|PROXY)_\w+|UND_ERR_\w+)$/u;
const serverCodePattern = /^[\w.-]{1,64}$/u;
const regionPattern = /^[a-z0-9-]{1,64}$/iu;
const lockPattern = /object.?lock|\bworm\b|retention|legal.?hold/iu;

/** Of a server's own words; more is no help. */
const maxWordsLength = 300;

interface Answer {
  readonly name: string;
  readonly status: number | undefined;
  readonly words: string;
  readonly region: string | undefined;
  /** The SDK signs by the server's clock from now on. */
  readonly isClockCorrected: boolean;
}

/** An error of ours goes through, but for that of a silent connection, which learns where it was. */
export function s3Error(error: unknown, place: S3ErrorPlace): HoldfastError {
  const { object, location } = place;
  if (error instanceof HoldfastError && 'location' in error.context) return error;
  if (error instanceof HoldfastError) {
    return new HoldfastError(error.code, `${object} at ${location}: ${error.message}`, { context: { ...error.context, object, location } });
  }
  const answer = readAnswer(error, place.secrets);
  if (answer.status !== undefined || codes.has(answer.name)) return answered(answer, place);
  const errno = errnoCode(error) ?? (answer.name === 'TimeoutError' ? 'ETIMEDOUT' : undefined);
  const isTls = errno !== undefined && tlsPattern.test(errno);
  if (errno !== undefined && (isTls || networkPattern.test(errno))) {
    return new HoldfastError(isTls ? 'storage_denied' : 'storage_unreachable', `${object} at ${location}: ${errno}: ${answer.words}`, {
      context: { object, location, errno },
      ...(isTls ? { hint: "check the server's certificate and its name, and the caCertificate that is given" } : {}),
    });
  }
  const defect = new HoldfastError('internal', `${object} at ${location}: ${answer.name}: ${answer.words}`, {
    context: { object, location },
  });
  if (error instanceof Error && error.stack !== undefined) defect.stack = cleaned(error.stack, place.secrets);
  return defect;
}

/** Whether the server says that it does not do what a header asks. */
export function isNotImplemented(error: unknown): boolean {
  const { name, status } = readAnswer(error, []);
  return status === 501 || name === 'NotImplemented';
}

/** Whether the server does not take a body without Content-MD5: Amazon and Ceph, for a bucket that locks every object by itself. */
export function wantsMd5(error: unknown): boolean {
  const { status, words } = readAnswer(error, []);
  return status === 400 && /content-md5/iu.test(words);
}

function answered(answer: Answer, place: S3ErrorPlace): HoldfastError {
  const { name, status } = answer;
  const { object, location } = place;
  const { code, said, hint } = explained(answer, place);
  return new HoldfastError(code, `${object} at ${location}: ${name}: ${said}`, {
    context: {
      object,
      location,
      serverCode: name,
      ...(status === undefined ? {} : { status }),
      ...(code === 'storage_object_held' ? { freeAt: null } : {}),
    },
    ...(hint === undefined ? {} : { hint }),
  });
}

function explained(
  { name, status, words, region, isClockCorrected }: Answer,
  { operation, bucket, region: given }: S3ErrorPlace,
): { code: ErrorCode; said: string; hint?: string | undefined } {
  const isElsewhere = name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed' || status === 301 || status === 400;
  if (region !== undefined && region !== given && isElsewhere) {
    return { code: 'storage_denied', said: `the bucket ${bucket} is in the region ${region}`, hint: `give the region ${region}` };
  }
  if (isClockCorrected) return { code: 'storage_unreachable', said: 'the clocks differ; the next try is signed by that of the server' };
  if (operation === 'delete' && (status ?? 500) < 500 && lockPattern.test(`${name} ${words}`)) {
    return {
      code: 'storage_object_held',
      said: `the object is protected by an object lock: ${words}`,
    };
  }
  return {
    code: codeOf(name, status, operation),
    said: name === 'NoSuchBucket' ? `there is no bucket ${bucket}` : words,
    hint: hints.get(name),
  };
}

function codeOf(name: string, status: number | undefined, operation: StorageOperation): ErrorCode {
  const code = codes.get(name) ?? byStatus(status ?? 0);
  if (code !== 'storage_object_missing' || operation === 'get' || operation === 'stat') return code;
  // Amazon: an object went away while a put looked whether it is there. Anybody else: there is no such place.
  return operation === 'put' && name === 'NoSuchKey' ? 'storage_unreachable' : 'storage_denied';
}

function byStatus(status: number): ErrorCode {
  // Two changes at once; only 412 says that the object is there.
  if (status === 409) return 'storage_unreachable';
  if (status === 501) return 'storage_denied';
  // A redirect is not followed: another host is none that the operator allowed.
  if (status >= 300 && status < 400) return 'storage_denied';
  return codeOfHttpStatus(status);
}

/** Names of the SDK for answers that have none: those to HEAD, which have no body, and those of a proxy. */
const namelessPattern = /^(?:Unknown|UnknownError|S3ServiceException|(?:Syntax|Type|Range)?Error)?$/u;

function readAnswer(error: unknown, secrets: readonly string[]): Answer {
  const name = textOf(error, 'name') ?? '';
  const status = statusOf(error);
  const region = regionOf(error);
  const answer = {
    status,
    region: region !== undefined && regionPattern.test(region) ? region : undefined,
    isClockCorrected: name === 'RequestTimeTooSkewed' && memberOf(memberOf(error, '$metadata'), 'clockSkewCorrected') === true,
  };
  if (status !== undefined && !codes.has(name) && namelessPattern.test(name)) {
    // Its message is the parser's, with parts of the answer in it.
    return { ...answer, name: `HTTP ${status}`, words: status < 300 ? 'the answer is none of S3' : 'the server gave no reason' };
  }
  const message = textOf(error, 'message') ?? '';
  const words =
    message === 'UnknownError'
      ? 'the server gave no reason'
      : cleaned(message, secrets).replaceAll(/\s+/gu, ' ').trim().slice(0, maxWordsLength);
  return { ...answer, name: serverCodePattern.test(name) ? name : 'Unknown', words };
}

function statusOf(error: unknown): number | undefined {
  const status = memberOf(memberOf(error, '$metadata'), 'httpStatusCode');
  return typeof status === 'number' ? status : undefined;
}

/** Where a server says that a bucket is: in a header, in the error's own field, or in its words. */
function regionOf(error: unknown): string | undefined {
  const header = textOf(memberOf(memberOf(error, '$response'), 'headers'), 'x-amz-bucket-region');
  return header ?? textOf(error, 'Region') ?? /expecting '([a-z0-9-]+)'/iu.exec(textOf(error, 'message') ?? '')?.[1];
}

/** The session tokens of roles, which only the SDK knows, have some hundred characters; no word has. */
const longTextPattern = /[\w+/=-]{100,}/gu;

/** A server may say back whatever it was sent. */
function cleaned(text: string, secrets: readonly string[]): string {
  const shorn = secrets.reduce((rest, secret) => rest.replaceAll(secret, '…'), text);
  const known = shorn.replaceAll(/AWS4-HMAC-SHA256[^\n]*/gu, '…').replaceAll(longTextPattern, '…');
  // oxlint-disable-next-line no-control-regex -- they would end a line of a log
  return known.replaceAll(/[\0-\x09\x0b-\x1f\x7f]+/gu, ' ');
}

function textOf(value: unknown, key: string): string | undefined {
  const found = memberOf(value, key);
  return typeof found === 'string' ? found : undefined;
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && key in value ? Reflect.get(value, key) : undefined;
}
