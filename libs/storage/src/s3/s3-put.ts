import { PutObjectCommand, type PutObjectCommandInput, type S3Client } from '@aws-sdk/client-s3';
import type { S3Body } from './s3-body.ts';
import type { S3Options } from './s3-options.ts';

export type ObjectLock = NonNullable<S3Options['objectLock']>;

export interface S3Put {
  readonly options: S3Options;
  readonly name: string;
  readonly key: string;
  readonly body: S3Body;
  /** With `If-None-Match: *`. */
  readonly isConditional: boolean;
  /** The beginning of an object's lock. */
  readonly now: Date;
}

/** What the server still has to answer within, once it may have an object whose put is aborted. */
const answerAfterAbortMs = 500;

/**
 * Sends an object. An abort ends the connection, so that the server has half an object, which it throws away. Once all is handed over
 * an abort comes too late to know that, and the answer is waited for, for a moment. Throws what the SDK throws.
 */
export async function sendS3Put(client: S3Client, put: S3Put, signal: AbortSignal | undefined): Promise<void> {
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (put.body.isHandedOver()) timer = setTimeout(() => stop.abort(), answerAfterAbortMs);
    else stop.abort();
  };
  const stream = put.body.open();
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const command = new PutObjectCommand({ ...inputOf(put), Body: stream });
    command.middlewareStack.add(
      (next) => async (args) => {
        // The SDK would leave a stream out of the signature.
        if (hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = put.body.sha256;
        return next(args);
      },
      { step: 'build', name: 'payloadHash' },
    );
    await client.send(command, { abortSignal: stop.signal });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    // A server may refuse before it has read all: a connection with half a request on it must not wait for the other half.
    if (!stream.readableEnded) stop.abort();
    stream.destroy();
  }
}

function inputOf({ options, name, key, body, isConditional, now }: S3Put): Omit<PutObjectCommandInput, 'Body'> {
  const { bucket, storageClass, serverSideEncryption, kmsKeyId, objectLock } = options;
  return {
    Bucket: bucket,
    Key: key,
    ContentLength: body.lengthBytes,
    ...(body.md5 === undefined ? {} : { ContentMD5: body.md5 }),
    ...(isConditional ? { IfNoneMatch: '*' } : {}),
    ...(storageClass !== undefined && name.startsWith('data/') ? { StorageClass: storageClass } : {}),
    ...(serverSideEncryption === undefined ? {} : { ServerSideEncryption: serverSideEncryption, SSEKMSKeyId: kmsKeyId }),
    ...(objectLock !== undefined && isLockedName(name) ? lockOf(objectLock, now) : {}),
  };
}

/** What a backup needs to be read. A lock of the repository has to go when its run has ended. */
export function isLockedName(name: string): boolean {
  return /^(?:config$|(?:data|index|keys|snapshots)\/)/u.test(name);
}

export const dayMs = 24 * 60 * 60 * 1000;

/** What a lock that begins now looks like. */
export function lockOf(
  { mode, days }: ObjectLock,
  now: Date,
): Required<Pick<PutObjectCommandInput, 'ObjectLockMode' | 'ObjectLockRetainUntilDate'>> {
  return {
    ObjectLockMode: mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE',
    ObjectLockRetainUntilDate: new Date(now.getTime() + days * dayMs),
  };
}

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request && typeof request.headers === 'object';
}
