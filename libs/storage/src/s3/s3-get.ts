import { Readable } from 'node:stream';
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from '@aws-sdk/client-s3';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { type ByteRange, type GetOptions, maxObjectSizeBytes } from '../storage.ts';
import { readExactly } from '../remote/body.ts';

export interface S3Object {
  readonly bucket: string;
  readonly key: string;
  readonly name: string;
  readonly location: string;
}

/**
 * Reads an object or a range of it, which has at least one byte. What the server says of lengths is held against what comes, so that
 * no half object is taken for one. Throws what the SDK throws, storage_object_too_short, storage_unreachable for an answer that was cut
 * off, and storage_denied for one that no object of a repository can be.
 */
export async function readS3Object(client: S3Client, object: S3Object, options: GetOptions): Promise<Uint8Array> {
  const { bucket, key } = object;
  const { range, signal } = options;
  const part = range === undefined ? undefined : `bytes=${range.offsetBytes}-${range.offsetBytes + range.lengthBytes - 1}`;
  const command = new GetObjectCommand({ Bucket: bucket, Key: key, Range: part });
  const answer = await client.send(command, signal === undefined ? {} : { abortSignal: signal });
  const { Body: body } = answer;
  if (!(body instanceof Readable)) throw failure('storage_unreachable', object, 'came without a body');
  try {
    return await readAnswer(object, options, answer, body);
  } finally {
    // An answer that is not wanted further must not hold its connection.
    body.destroy();
  }
}

async function readAnswer(
  object: S3Object,
  { range, into }: GetOptions,
  answer: GetObjectCommandOutput,
  body: Readable,
): Promise<Uint8Array> {
  const { ContentLength: lengthBytes, ContentRange: part } = answer;
  if (lengthBytes === undefined)
    throw failure('storage_denied', object, 'came without a Content-Length: nobody can tell whether it is whole');
  if (lengthBytes > maxObjectSizeBytes) throw failure('storage_denied', object, 'is larger than any object of a repository');
  const isPart = range !== undefined && answer.$metadata.httpStatusCode === 206;
  if (isPart && lengthBytes < range.lengthBytes) throw tooShort(object, range);
  if (isPart && (lengthBytes > range.lengthBytes || part?.startsWith(`bytes ${range.offsetBytes}-`) === false)) {
    throw failure('storage_unreachable', object, `came with other bytes than asked for: ${part}`);
  }
  const bytes = await readExactly(body, lengthBytes, isPart ? into : undefined);
  if (bytes === undefined) throw failure('storage_unreachable', object, 'came with another length than said');
  if (range === undefined || isPart) return bytes;
  // Not every server knows ranges: this one gave the whole object.
  if (lengthBytes < range.offsetBytes + range.lengthBytes) throw tooShort(object, range);
  return bytes.slice(range.offsetBytes, range.offsetBytes + range.lengthBytes);
}

export function tooShort(object: S3Object, range: ByteRange): HoldfastError {
  return failure('storage_object_too_short', object, 'ends before the bytes asked for', { ...range });
}

function failure(
  code: ErrorCode,
  { name, location }: S3Object,
  message: string,
  more: Readonly<Record<string, unknown>> = {},
): HoldfastError {
  return new HoldfastError(code, `${name} at ${location} ${message}`, { context: { object: name, location, ...more } });
}
