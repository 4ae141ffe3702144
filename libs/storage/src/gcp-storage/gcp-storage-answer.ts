import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { hashOfParts } from '../remote/body.ts';
import type { ByteRange } from '../storage.ts';
import type { GcpErrorPlace } from './gcp-storage-error.ts';
import type { HttpResponse } from '../remote/http-request.ts';

/** Whether the bytes that came are the bytes that were asked for. */

/**
 * Compares a whole object with the MD5 that the service has of it (`x-goog-hash: crc32c=…,md5=…`), where it has one: objects that were
 * put together from others have none. Error: storage_unreachable, for what was damaged on the way comes whole at another try.
 */
export async function assertHash({ status, headers, body }: HttpResponse, { what, location }: GcpErrorPlace): Promise<void> {
  const context = { object: what, location };
  if (status !== 200) throw new HoldfastError('storage_denied', `${what} at ${location}: a part came where all was asked for`, { context });
  const expected = /(?:^|[\s,])md5=([A-Za-z0-9+/=]+)/u.exec(String(headers['x-goog-hash'] ?? ''))?.[1];
  if (expected === undefined || (await hashOfParts('md5', [body], undefined)).toString('base64') === expected) return;
  throw new HoldfastError('storage_unreachable', `${what} at ${location}: other bytes came than the service has the hash of`, { context });
}

/**
 * Errors: storage_object_too_short where the object ends before the range does, storage_denied where the server, or a proxy before it,
 * answers with another range than the one asked for.
 */
export function assertRange({ status, headers, body }: HttpResponse, range: ByteRange, { what, location }: GcpErrorPlace): void {
  const { offsetBytes, lengthBytes } = range;
  const context = { object: what, location, offsetBytes, lengthBytes };
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/u.exec(headers['content-range'] ?? '') ?? [];
  const isRange = status === 206 && Number(first) === offsetBytes && Number(last) - offsetBytes + 1 === body.byteLength;
  if (isRange && body.byteLength === lengthBytes) return;
  if (isRange && Number(size) < offsetBytes + lengthBytes) {
    throw new HoldfastError('storage_object_too_short', `${what} at ${location} ends before the bytes asked for`, {
      context: { ...context, sizeBytes: Number(size) },
    });
  }
  throw new HoldfastError('storage_denied', `${what} at ${location}: another range came than the one asked for`, {
    context,
    hint: 'check that no proxy between the worker and the service changes requests for ranges',
  });
}
